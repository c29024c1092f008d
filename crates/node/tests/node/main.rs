//! What must hold for a whole node on a disk that forgets, lies and fills up.
//!
//! | file         | the fact                                                                            |
//! |--------------|-------------------------------------------------------------------------------------|
//! | [`asked`]    | a checkpoint asked for while one is written does not follow it, unless scheduled     |
//! | [`rig`]      | a node without threads on a simulated disk, run by hand                              |
//! | [`space`]    | a full device is answered in words, and heals                                        |
//! | [`steps`]    | random sequences of commands and of what the node's threads do between them          |
//! | [`history`]  | every state that was, what was promised when, and what may be found after a crash    |
//! | [`reopened`] | a reopened node has the state it was closed with, by checkpoints or by journal alone |
//! | [`fatal`]    | a failed sync, or damage in the middle of a batch, stops the node, and is told      |
//! | [`inspected`] | `check` names what opening refuses, and what `repair` leaves opens                 |
//! | [`merged`]   | a segment that cannot be read holds up no merge of others                           |
//! | [`fuzzy`]    | checkpoints written while commands run give, with the journal, the exact state       |
//! | [`crash`]    | after a crash at any moment: nothing acknowledged lost, nothing but what once was    |
//! | [`damage`]   | every flipped bit is refused, or changes nothing, or is one that cannot be told       |
//! | [`waiting`]  | keys that end or are evicted are handed over for those who wait for them            |
//! | [`writers`]  | threads that write while checkpoints, merges and spilling go on lose nothing either   |
//!
//! Deliberately one test program: linking it is dearer than running it.

mod asked;
mod crash;
mod damage;
mod fatal;
mod fuzzy;
mod history;
#[path = "../../../commands/tests/harness/host.rs"]
mod host;
mod inspected;
mod merged;
mod reopened;
mod rig;
mod space;
mod steps;
mod waiting;
mod writers;
