//! Some of each room say something to everybody there, and every copy is counted.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU32;
use std::rc::Rc;

use bytes::Bytes;
use serde_json::{Value, json};
use shaddock_protocol::pomelo::ClientEvent;
use shaddock_protocol::text;
use shaddock_transport::Wire;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::link::{Link, LinkError};
use crate::pace::{Pace, Turns, conduct};
use crate::talk::{Part, talk};
use crate::tally::Tally;
use crate::timer::Timer;
use crate::worker::{Clients, Worker};

const SEND: &str = "chat.chatHandler.send";

/// How many of each room do something else than listen.
#[derive(Clone, Copy)]
pub(crate) struct Seats {
    pub(crate) senders: usize,
    pub(crate) stalled: usize,
}

pub(crate) fn spawn(
    worker: &Rc<Worker>,
    rooms: usize,
    Seats { senders, stalled }: Seats,
    timer: Timer,
    clients: &mut Clients,
) {
    let mut speakers = Vec::new();
    for number in worker.share(rooms) {
        let room = Rc::new(RefCell::new(Room::new(senders)));
        for seat in 0..worker.plan.members {
            if worker.plan.members - stalled <= seat {
                clients.spawn(stalled_client(worker.clone(), number, seat));
                continue;
            }
            let pace = (seat < senders).then(|| match worker.plan.rate {
                None => Pace::Closed(worker.plan.outstanding),
                Some(_) => {
                    let turns = Rc::<Turns>::default();
                    speakers.push(turns.clone());
                    Pace::Open(turns)
                }
            });
            clients.spawn(client(worker.clone(), number, seat, room.clone(), pace));
        }
    }
    if let Some(rate) = worker.plan.rate
        && !speakers.is_empty()
    {
        let rate = rate * speakers.len() as f64 / (rooms * senders) as f64;
        clients.spawn(conduct(worker.clone(), rate, speakers, timer));
    }
}

async fn client(
    worker: Rc<Worker>,
    room_number: usize,
    seat: usize,
    room: Rc<RefCell<Room>>,
    pace: Option<Pace>,
) {
    let user = worker.user_in(room_number * worker.plan.members + seat, room_number);
    let Some(mut link) = worker.admit(&user).await else {
        return;
    };
    let mut member = Member::new(room, seat, user.name, user.room, worker.plan.size);
    match talk(&worker, &mut link, &mut member, pace.as_ref()).await {
        Ok(()) => link.leave().await,
        Err(error) => {
            worker.tally().error(error);
            member.room.borrow_mut().lose(&member.heard);
        }
    }
}

/// Comes in, and from then on only says that it is alive, whatever the server makes of it.
async fn stalled_client(worker: Rc<Worker>, room_number: usize, seat: usize) {
    let user = worker.user_in(room_number * worker.plan.members + seat, room_number);
    let Some(mut link) = worker.admit(&user).await else {
        return;
    };
    tokio::select! {
        () = link.stall() => {}
        () = worker.phases.over() => {}
    }
}

/// A room as those in it know it together.
struct Room {
    /// How many are in it.
    members: usize,
    senders: Vec<Sender>,
}

struct Sender {
    /// The number of the next message; the first is 0.
    next: u64,
    /// Those that not everybody has heard, the oldest first.
    flights: VecDeque<Flight>,
    landed: Rc<Notify>,
}

struct Flight {
    number: u64,
    intended: Instant,
    /// How many have yet to hear it.
    left: usize,
}

/// What one member has heard of one sender.
#[derive(Default)]
struct Heard {
    /// All below this, but for those that are missing.
    next: u64,
    missing: BTreeSet<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum Arrival {
    InOrder,
    Late,
    Again,
}

impl Room {
    fn new(senders: usize) -> Self {
        let sender = || Sender { next: 0, flights: VecDeque::new(), landed: Rc::default() };
        Self { members: 0, senders: std::iter::repeat_with(sender).take(senders).collect() }
    }

    /// A copy has arrived: when its message was intended, if anybody sent it.
    fn landed(&mut self, sender: usize, number: u64) -> Option<Instant> {
        let sender = self.senders.get_mut(sender)?;
        let place = sender.flights.binary_search_by_key(&number, |flight| flight.number).ok()?;
        let flight = sender.flights.get_mut(place)?;
        flight.left = flight.left.saturating_sub(1);
        let intended = flight.intended;
        if flight.left == 0 {
            sender.flights.remove(place);
            sender.landed.notify_one();
        }
        Some(intended)
    }

    /// A member is gone, and what it has not heard it never will.
    fn lose(&mut self, heard: &[Heard]) {
        self.members = self.members.saturating_sub(1);
        for (sender, heard) in self.senders.iter_mut().zip(heard) {
            sender.flights.retain_mut(|flight| {
                if heard.next <= flight.number || heard.missing.contains(&flight.number) {
                    flight.left = flight.left.saturating_sub(1);
                }
                flight.left != 0
            });
            sender.landed.notify_one();
        }
    }
}

impl Heard {
    fn hear(&mut self, number: u64) -> Arrival {
        if number < self.next {
            return if self.missing.remove(&number) { Arrival::Late } else { Arrival::Again };
        }
        self.missing.extend(self.next..number);
        self.next = number + 1;
        Arrival::InOrder
    }
}

struct Member {
    room: Rc<RefCell<Room>>,
    seat: usize,
    name: String,
    rid: String,
    size: usize,
    /// Of each sender.
    heard: Vec<Heard>,
    /// The id of the last request.
    id: NonZeroU32,
    landed: Rc<Notify>,
}

impl Member {
    fn new(room: Rc<RefCell<Room>>, seat: usize, name: String, rid: String, size: usize) -> Self {
        let (heard, landed) = {
            let mut room = room.borrow_mut();
            room.members += 1;
            let landed = room.senders.get(seat).map(|sender| sender.landed.clone());
            (room.senders.iter().map(|_| Heard::default()).collect(), landed.unwrap_or_default())
        };
        Self { room, seat, name, rid, size, heard, id: NonZeroU32::MIN, landed }
    }

    fn heard(&mut self, body: &[u8], now: Instant, tally: &mut Tally) {
        let mut room = self.room.borrow_mut();
        let said = content(body).filter(|(_, number)| *number < u64::MAX);
        let Some((heard, sender, number)) =
            said.and_then(|(sender, number)| Some((self.heard.get_mut(sender)?, sender, number)))
        else {
            return tally.error(format_args!("a strange push: {}", String::from_utf8_lossy(body)));
        };
        if room.senders.get(sender).is_none_or(|sender| sender.next <= number) {
            return tally.error("heard what nobody said");
        }
        match heard.hear(number) {
            Arrival::InOrder => {}
            Arrival::Late => tally.counts.out_of_order += 1,
            Arrival::Again => {
                tally.counts.doubled += 1;
                return;
            }
        }
        match room.landed(sender, number) {
            Some(intended) => tally.arrived(intended, now),
            None => tally.error("heard what had been heard by all"),
        }
    }
}

impl<W: Wire> Part<W> for Member {
    fn under_way(&self) -> usize {
        self.room.borrow().senders.get(self.seat).map_or(0, |sender| sender.flights.len())
    }

    fn say(
        &mut self,
        link: &mut Link<W>,
        intended: Instant,
        tally: &mut Tally,
    ) -> Result<(), LinkError> {
        let mut room = self.room.borrow_mut();
        let left = room.members;
        let Some(sender) = room.senders.get_mut(self.seat) else {
            return Ok(());
        };
        let number = sender.next;
        let mut content = format!("{}:{number}:", self.seat);
        content.extend(std::iter::repeat_n('x', self.size.saturating_sub(content.len())));
        let say = json!({ "rid": self.rid, "content": content, "from": self.name, "target": "*" });
        self.id = self.id.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let body = text::to_json(&say).expect("a map is JSON");
        let package = link.request(self.id, SEND, &body)?;
        link.send(&package);
        sender.next += 1;
        sender.flights.push_back(Flight { number, intended, left });
        tally.counts.sent += 1;
        tally.unanswered += 1;
        tally.due += left as u64;
        Ok(())
    }

    fn hear(&mut self, event: ClientEvent, now: Instant, tally: &mut Tally) {
        match event {
            ClientEvent::Push { route, body } if route == "onChat" => self.heard(&body, now, tally),
            ClientEvent::Response { body, .. } => {
                tally.unanswered = tally.unanswered.saturating_sub(1);
                if let Some(fault) = fault(&body) {
                    tally.error(format_args!("{SEND} answered {fault}"));
                }
            }
            ClientEvent::Unreadable(refusal) => {
                tally.error(format_args!("can't be read: {refusal}"));
            }
            // Those in the room come and go.
            _ => {}
        }
    }

    async fn changed(&self) {
        self.landed.notified().await;
    }
}

/// Who says the what-th in a push: `{"msg":"3:17:xxx",..}`. The rest of it is not read.
fn content(body: &[u8]) -> Option<(usize, u64)> {
    const BEFORE: &[u8] = br#""msg":""#;
    let place = body.windows(BEFORE.len()).position(|window| window == BEFORE)?;
    let mut parts = body.get(place + BEFORE.len()..)?.splitn(3, |byte| *byte == b':');
    let sender = str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let number = str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    parts.next().map(|_| (sender, number))
}

/// The answer to a request, if it says that something went wrong.
fn fault(body: &Bytes) -> Option<Value> {
    if body == "{}" {
        return None;
    }
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = answer.get("code").cloned();
    code.filter(|code| *code != 200).map(|_| answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_in_order_late_or_there_again() {
        let mut heard = Heard::default();
        let copies = [0, 1, 1, 4, 3, 3, 0, 5].map(|number| heard.hear(number));
        use Arrival::{Again, InOrder, Late};
        assert_eq!(copies, [InOrder, InOrder, Again, InOrder, Late, Again, Again, InOrder]);
        assert_eq!(heard.missing, BTreeSet::from([2]));
    }

    #[test]
    fn a_push_says_whose_message_it_is() {
        for (body, said) in [
            (&br#"{"msg":"3:17:xxx","from":"a"}"#[..], Some((3, 17))),
            (br#"{"route":"onChat","msg":"0:0:","from":"a"}"#, Some((0, 0))),
            (br#"{"msg":"hello"}"#, None),
            (br#"{"msg":"-1:2:"}"#, None),
            (b"", None),
        ] {
            assert_eq!(content(body), said, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn an_answer_other_than_200_is_a_fault() {
        assert_eq!(fault(&"{}".into()), None);
        assert_eq!(fault(&r#"{"code":200}"#.into()), None);
        assert_eq!(fault(&r#"{"route":"x"}"#.into()), None);
        assert_eq!(fault(&r#"{"code":500}"#.into()), Some(json!({ "code": 500 })));
    }

    #[test]
    fn a_message_has_landed_when_all_have_heard_it_or_are_gone() {
        let mut room = Room::new(1);
        let intended = Instant::now();
        let flight = |number| Flight { number, intended, left: 3 };
        room.members = 3;
        room.senders[0].next = 2;
        room.senders[0].flights.extend([flight(0), flight(1)]);
        assert!(room.landed(0, 0).is_some() && room.landed(0, 0).is_some());
        assert_eq!(room.senders[0].flights.len(), 2);
        // One that has heard neither.
        room.lose(&[Heard::default()]);
        assert_eq!(room.senders[0].flights.len(), 1);
        assert!(room.landed(0, 1).is_some() && room.landed(0, 1).is_some());
        assert!(room.senders[0].flights.is_empty());
        assert_eq!(room.landed(0, 1), None);
    }
}
