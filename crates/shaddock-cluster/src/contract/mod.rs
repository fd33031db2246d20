//! The tests that every engine must pass.
//!
//! Each takes a function that connects to the engine under test and panics if a promise is not kept. They
//! use clusters, subjects and stores of their own, so one broker serves them all, at the same time.
//! [`contract_tests!`](crate::contract_tests) makes a test of each.

mod bytes_moved;
mod servers;
mod values;
mod witness;

pub use self::bytes_moved::*;
pub use self::servers::*;
pub use self::values::*;
pub use self::witness::{Heard, Witness};
use crate::ids::Boot;

/// A test for each part of the contract.
///
/// Takes the attribute of the tests, and an async function without arguments that returns a new connection
/// as an `Arc<dyn Engine>`; all connections reach the same broker. Where there may be no broker, `if` and a function
/// that returns whether there is one may follow: without one the tests do nothing.
///
/// ```
/// use std::sync::Arc;
///
/// use shaddock_cluster::{Engine, memory::Memory};
///
/// async fn connect() -> Arc<dyn Engine> {
///     Memory::new() // each test connects several times, so this one would fail some
/// }
///
/// shaddock_cluster::contract_tests!(#[tokio::test], connect);
/// ```
#[macro_export]
macro_rules! contract_tests {
    (#[$test:meta], $connect:path $(, if $there:path)?) => {
        $crate::contract_tests! { @ #[$test], $connect, [$($there)?]:
            what_one_publishes_keeps_its_order
            a_subscription_hears_its_patterns_and_no_more
            a_full_queue_stops_nobody
            large_payloads_are_refused_clearly
            pushes_come_before_the_answer_that_follows
            nothing_arrives_twice
            large_calls_are_refused_clearly
            calls_end_at_their_deadline
            calls_to_nobody_end_at_once
            a_call_without_an_answer_is_told_so
            who_joins_knows_and_is_known
            an_id_is_taken_while_its_server_lives
            how_busy_each_is_is_known_and_no_event
            one_who_leaves_is_gone_at_once
            one_who_crashes_is_found_dead
            clusters_do_not_mix
            of_many_creators_one_succeeds
            a_value_changes_only_by_who_knows_it
            a_deleted_key_can_be_made_again
            revisions_grow
            a_watcher_sees_what_is_and_what_comes
            stores_do_not_mix
            keys_and_names_are_checked
            a_name_has_one_owner
        }
    };
    (@ #[$test:meta], $connect:path, []: $($name:ident)*) => {
        $(
            #[$test]
            async fn $name() {
                $crate::contract::$name($connect).await;
            }
        )*
    };
    (@ #[$test:meta], $connect:path, [$there:path]: $($name:ident)*) => {
        $(
            #[$test]
            async fn $name() {
                if $there() {
                    $crate::contract::$name($connect).await;
                }
            }
        )*
    };
}

/// A name nobody uses.
fn fresh(what: &str) -> String {
    format!("{what}-{}", Boot::random())
}
