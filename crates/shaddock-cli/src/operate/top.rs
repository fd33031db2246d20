//! `top`: how the servers are, again and again.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use futures_util::future::join_all;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Row, Table};
use ratatui::{DefaultTerminal, Frame};
use shaddock::ServerId;
use shaddock::admin::{Found, Operator, OrderError, Status};
use tokio::time::{Instant, sleep_until};

use super::look::ask;
use super::table::{NOTHING, bytes, table};
use crate::output::say;

const HEAD: [&str; 12] = [
    "SERVER", "KIND", "STATE", "LOAD", "SESSIONS", "USERS", "CHANNELS", "MSGS/s", "PUSHES/s",
    "FAULTS", "CALLS", "MEMORY",
];

/// Shows a table until somebody leaves it, or once.
pub(super) async fn top(
    operator: &Operator,
    once: bool,
    every: Duration,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    // Says, before a screen is drawn, that a password is wrong or nobody is there.
    let ids: Vec<ServerId> = operator.servers().into_iter().map(|server| server.id).collect();
    ask(&ids, async |id| operator.status(id).await).await?;
    let mut view = View::look(operator, &HashMap::new()).await;
    if once {
        sleep_until(view.at + every).await;
        let view = View::look(operator, &view.samples).await;
        for line in table(&HEAD, &view.rows) {
            say(out, &line);
        }
        return Ok(true);
    }
    let mut screen = Screen(ratatui::try_init()?);
    loop {
        screen.0.draw(|frame| view.draw(frame))?;
        if leaves(view.at + every).await? {
            return Ok(true);
        }
        view = View::look(operator, &view.samples).await;
    }
}

/// A screen that is as it was when this is gone, however that comes.
struct Screen(DefaultTerminal);

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Waits for the next look, and says whether somebody wants to leave before.
async fn leaves(until: Instant) -> std::io::Result<bool> {
    let read = move || {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if !event::poll(left)? {
                return Ok(false);
            }
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                        return Ok(true);
                    }
                    _ => {}
                },
                // Drawn anew in another size.
                Event::Resize(..) => return Ok(false),
                _ => {}
            }
        }
    };
    tokio::task::spawn_blocking(read).await.unwrap_or(Ok(true))
}

/// What was counted by a server when.
pub(super) type Samples = HashMap<(ServerId, u64), (Instant, u64, u64)>;

/// One look at all servers.
pub(super) struct View {
    at: Instant,
    pub(super) samples: Samples,
    rows: Vec<Vec<String>>,
    /// Front-ends, back-ends, sessions, users.
    sums: [usize; 4],
}

impl View {
    /// Looks, and compares with what was counted before.
    pub(super) async fn look(operator: &Operator, before: &Samples) -> View {
        let members = operator.servers();
        let answers =
            join_all(members.iter().map(async |member| operator.status(&member.id).await));
        let answers = answers.await;
        let mut view =
            View { at: Instant::now(), samples: Samples::new(), rows: Vec::new(), sums: [0; 4] };
        for (member, answer) in members.iter().zip(answers) {
            view.add(member, answer, before);
        }
        view
    }

    fn add(&mut self, member: &Found, answer: Result<Status, OrderError>, before: &Samples) {
        let mut row = vec![
            member.id.to_string(),
            member.kind.to_string(),
            format!("{:?}", member.state).to_lowercase(),
        ];
        self.sums[usize::from(!member.frontend)] += 1;
        if let Ok(status) = answer {
            self.sums[2] += status.sessions;
            self.sums[3] += status.users;
            let messages = status.counter("shaddock_messages_handled_total");
            let pushes = status.counter("shaddock_pushes_delivered_total");
            let run = (member.id.clone(), member.boot.bits());
            let earlier = before.get(&run);
            let per_second = |now: u64, then: fn(&(Instant, u64, u64)) -> u64| match earlier {
                Some(sample) => {
                    let elapsed = (self.at - sample.0).as_secs_f64().max(0.001);
                    format!("{:.0}", now.saturating_sub(then(sample)) as f64 / elapsed)
                }
                None => NOTHING.to_owned(),
            };
            let of_clients = |count: usize| match member.frontend {
                true => count.to_string(),
                false => NOTHING.to_owned(),
            };
            row.extend([
                status.load.map_or(NOTHING.to_owned(), |load| load.to_string()),
                of_clients(status.sessions),
                of_clients(status.users),
                status.channels.to_string(),
                per_second(messages, |sample| sample.1),
                per_second(pushes, |sample| sample.2),
                status.counter("shaddock_faults_total").to_string(),
                status.calls_waiting.to_string(),
                status.memory.map_or(NOTHING.to_owned(), bytes),
            ]);
            self.samples.insert(run, (self.at, messages, pushes));
        } else {
            row.extend([NOTHING; 9].map(str::to_owned));
        }
        self.rows.push(row);
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let [top, middle, bottom] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
                .areas(frame.area());
        let [front, back, sessions, users] = self.sums;
        let sums =
            format!("{front} front-ends, {back} back-ends, {sessions} sessions, {users} users");
        frame.render_widget(Line::from(sums), top);
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].len());
            let widest = cells.chain([HEAD[column].len()]).max().unwrap_or_default();
            Constraint::Length(u16::try_from(widest).unwrap_or(u16::MAX))
        };
        let rows = self.rows.iter().map(|row| {
            let style = match row[2].as_str() {
                "alive" => Style::default(),
                _ => Style::default().fg(Color::Yellow),
            };
            Row::new(row.iter().map(String::as_str)).style(style)
        });
        let head = Row::new(HEAD).style(Style::default().add_modifier(Modifier::BOLD));
        let widths = (0..HEAD.len()).map(width);
        frame.render_widget(Table::new(rows, widths).header(head).column_spacing(2), middle);
        frame.render_widget(
            Line::from("q leaves").style(Style::default().fg(Color::DarkGray)),
            bottom,
        );
    }
}
