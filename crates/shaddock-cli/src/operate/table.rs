//! Columns of text.

/// Rows under a head, with as much room for each column as it needs. Numbers stand to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    // With a unit, such as 1.5 MiB, but no address.
    let is_number = |text: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ' ');
        text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(is_part)
            && text.matches('.').count() < 2
    };
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let width = |column: usize| {
        let widest = cells(column).map(|cell| cell.chars().count()).max().unwrap_or_default();
        widest.max(head[column].len())
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let right: Vec<bool> = (0..head.len())
        .map(|column| cells(column).all(|cell| cell == NOTHING || is_number(cell)))
        .collect();
    let line = |cells: Vec<&str>| {
        let padded =
            cells.iter().zip(&widths).zip(&right).map(|((cell, &width), right)| match right {
                true => format!("{cell:>width$}"),
                false => format!("{cell:width$}"),
            });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = line(head.to_vec());
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(head).chain(rows).collect()
}

/// What stands where there is nothing to say.
pub(crate) const NOTHING: &str = "-";

/// Bytes, in three digits or four.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while 1000.0 <= value && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit == 0 || 10.0 <= value {
        true => format!("{value:.0} {}", UNITS[unit]),
        false => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// A time, in its two largest units.
pub(crate) fn time(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days != 0 => format!("{days}d {}h", hours % 24),
        () if hours != 0 => format!("{hours}h {}m", minutes % 60),
        () if minutes != 0 => format!("{minutes}m {}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [["chat-server-1", "5", "1 MiB", "x"], ["gate-1", "-", "10 MiB", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let wanted = "\
SERVER         SESSIONS  MEMORY  WHY
chat-server-1         5   1 MiB  x
gate-1                -  10 MiB";
        assert_eq!(table(&["SERVER", "SESSIONS", "MEMORY", "WHY"], &rows).join("\n"), wanted);
        assert_eq!(table(&["NONE"], &[]), ["NONE"]);
    }

    #[test]
    fn amounts_are_short() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KiB"),
            (20 << 20, "20 MiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        for (seconds, text) in [(0, "0s"), (61, "1m 1s"), (7_260, "2h 1m"), (90_000, "1d 1h")] {
            assert_eq!(time(Duration::from_secs(seconds)), text);
        }
    }
}
