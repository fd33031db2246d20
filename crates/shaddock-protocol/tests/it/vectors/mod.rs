//! What the original packages did, case by case.
//!
//! `vectors.json` was recorded from pomelo and its clients. Where the protocol asks for something
//! else than was recorded, `differences.json` names the case, the line that asks for it and what is
//! expected instead; a case that is flagged as a fault of the original is left out.

mod app;
mod codec;
mod mqtt;
mod protobuf;
mod session;
mod socketio;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

pub(crate) static VECTORS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../vectors/vectors.json")).expect("it is JSON")
});

/// By case.
static DIFFERENCES: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let list: Vec<Value> =
        serde_json::from_str(include_str!("../../vectors/differences.json")).expect("it is JSON");
    let by_case = list.iter().map(|difference| {
        assert!(difference["line"].as_str().is_some_and(|line| !line.is_empty()), "{difference}");
        (text(&difference["case"]).to_owned(), difference["expect"].clone())
    });
    by_case.collect()
});

/// What an encoder or decoder says to what it does not take.
fn refused() -> Value {
    json!("refused")
}

/// Holds the results of one kind of case against what was recorded.
#[derive(Default)]
struct Judge {
    ran: usize,
    differ: usize,
    flagged: usize,
    wrong: Vec<String>,
}

impl Judge {
    /// Whether a case is to be run.
    fn takes(&mut self, case: &Value) -> bool {
        let flagged = ["reference_bug", "reference_quirk"].iter().any(|flag| case[flag] == true);
        self.flagged += usize::from(flagged);
        !flagged
    }

    fn hear(&mut self, case: &str, actual: &Value, recorded: &Value) {
        self.ran += 1;
        let difference = DIFFERENCES.get(case);
        self.differ += usize::from(difference.is_some());
        if !same(difference.unwrap_or(recorded), actual) {
            self.wrong.push(format!(
                "{case}\n  expected {}\n  actual   {actual}",
                difference.unwrap_or(recorded)
            ));
        }
        if difference.is_some() && same(recorded, actual) {
            self.wrong.push(format!("{case} does not differ from what was recorded"));
        }
    }

    /// Says how many cases ran, how many of them differ, and how many are faults of the original.
    fn close(self, kind: &str, ran: usize, differ: usize, flagged: usize) {
        let counts = (self.ran, self.differ, self.flagged);
        println!(
            "{kind}: {} ran, {} of them with another result, {} flagged",
            counts.0, counts.1, counts.2
        );
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        assert_eq!(counts, (ran, differ, flagged), "{kind}");
    }
}

/// Equal as JavaScript has it: one kind of number, and members in order.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().map(f64::to_bits) == b.as_f64().map(f64::to_bits)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same(a, b))
        }
        _ => a == b,
    }
}

#[test]
fn every_difference_names_a_case() {
    let mut cases: Vec<String> = Vec::new();
    for section in VECTORS.as_object().unwrap().values() {
        let list = section.as_array().into_iter().flatten();
        cases.extend(list.filter_map(|case| case["id"].as_str().map(str::to_owned)));
    }
    for (name, messages) in VECTORS["protobuf_parsed"].as_object().unwrap() {
        cases.extend(messages.as_object().unwrap().keys().map(|route| format!("{name}.{route}")));
    }
    cases.extend((0..26).map(|frame| format!("jsclient {frame}")));
    for case in DIFFERENCES.keys() {
        let case = case.split(" step ").next().unwrap();
        assert!(cases.iter().any(|known| known == case), "there is no case {case}");
    }
}

fn cases(section: &str) -> &'static [Value] {
    VECTORS[section].as_array().expect("a list of cases")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

/// Bytes from hexadecimal digits; none from `null`.
fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap_or_default();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> Value {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
