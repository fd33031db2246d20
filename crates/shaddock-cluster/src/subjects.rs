//! Where servers publish to each other.
//!
//! | subject | use |
//! |---|---|
//! | `<cluster>.s.<id>.in` | calls, casts and answers to one server |
//! | `<cluster>.s.<id>.beat` | beats for this server alone: greetings, and answers to who-is-there |
//! | `<cluster>.s.<id>.void` | told by the engine that nobody was there |
//! | `<cluster>.m.beat.<kind>.<id>`, `<cluster>.m.bye.<kind>.<id>` | that a server is there, or goes |
//! | `<cluster>.m.who` | asks everyone for a beat |
//! | `<cluster>.j.<boot>` | answers to who-is-there for one who is not in yet |

use crate::engine::{Pattern, Subject};
use crate::ids::{ClusterName, Peer, ServerId};

/// The subjects of one server, made once.
pub(crate) struct Subjects {
    pub(crate) own_in: Subject,
    pub(crate) own_beat: Subject,
    pub(crate) void: Subject,
    pub(crate) beat_all: Subject,
    pub(crate) bye_all: Subject,
    pub(crate) who: Subject,
    pub(crate) joining: Subject,
    below: [Subject; 2],
    cluster: ClusterName,
}

/// What a subject that this server hears is for.
#[derive(Debug)]
pub(crate) enum Heard {
    Frame,
    /// A beat for all.
    Beat,
    /// A beat for this server.
    Greeting,
    Bye,
    Who,
    Unknown,
}

impl Subjects {
    pub(crate) fn new(cluster: &ClusterName, own: &Peer) -> Subjects {
        let Peer { id, kind, boot } = own;
        Subjects {
            own_in: subject(&format!("{cluster}.s.{id}.in")),
            own_beat: subject(&format!("{cluster}.s.{id}.beat")),
            void: subject(&format!("{cluster}.s.{id}.void")),
            beat_all: subject(&format!("{cluster}.m.beat.{kind}.{id}")),
            bye_all: subject(&format!("{cluster}.m.bye.{kind}.{id}")),
            who: subject(&format!("{cluster}.m.who")),
            joining: subject(&format!("{cluster}.j.{boot}")),
            below: [subject(&format!("{cluster}.s.{id}")), subject(&format!("{cluster}.m"))],
            cluster: cluster.clone(),
        }
    }

    /// What this server listens to: its own first.
    pub(crate) fn patterns(&self) -> Vec<Pattern> {
        self.below.iter().cloned().map(Pattern::Below).collect()
    }

    pub(crate) fn of(&self, heard: &Subject) -> Heard {
        if *heard == self.own_in {
            return Heard::Frame;
        }
        if *heard == self.own_beat {
            return Heard::Greeting;
        }
        let [_, all] = &self.below;
        match heard.as_str().strip_prefix(all.as_str()) {
            Some(".who") => Heard::Who,
            Some(rest) if rest.starts_with(".beat.") => Heard::Beat,
            Some(rest) if rest.starts_with(".bye.") => Heard::Bye,
            _ => Heard::Unknown,
        }
    }

    pub(crate) fn in_of(&self, id: &ServerId) -> Subject {
        subject(&format!("{}.s.{id}.in", self.cluster))
    }

    pub(crate) fn beat_of(&self, id: &ServerId) -> Subject {
        subject(&format!("{}.s.{id}.beat", self.cluster))
    }
}

fn subject(text: &str) -> Subject {
    Subject::new(text).expect("is made of names")
}
