//! A debugging session as its client sees it, over a made-up stack. Deliberately not here: Lua, which `tests/debugger.py` steps
//! through.

use super::*;
use std::collections::VecDeque;
use std::rc::Rc;

/// What a console has sent, and what its client will say.
#[derive(Default)]
struct Desk {
    said: RefCell<VecDeque<Vec<u8>>>,
    sent: RefCell<Vec<u8>>,
    now_ms: RefCell<u64>,
}

struct Wire(Rc<Desk>);

impl Console for Wire {
    fn send(&mut self, bytes: &[u8]) {
        self.0.sent.borrow_mut().extend_from_slice(bytes);
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        self.0.said.borrow_mut().pop_front()
    }

    fn is_gone(&self) -> bool {
        self.0.said.borrow().is_empty()
    }

    fn now_ms(&self) -> u64 {
        *self.0.now_ms.borrow()
    }

    fn slow_after_ms(&self) -> u64 {
        0
    }
}

/// A function with two variables.
struct Fake;

impl Frames for Fake {
    fn local(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        (name == b"x").then(|| b"1".to_vec())
    }

    fn locals(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        vec![(b"x".to_vec(), b"1".to_vec()), (b"long".to_vec(), vec![b'y'; 300])]
    }

    fn trace(&mut self) -> Vec<(Option<Vec<u8>>, i64)> {
        vec![(Some(b"inner".to_vec()), 2), (None, 3)]
    }

    fn eval(&mut self, code: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        if code == b"bad" { Err(b"no".to_vec()) } else { Ok(code.to_vec()) }
    }

    fn call(&mut self, _args: &[Vec<u8>]) {}
}

const SOURCE: &[u8] = b"one\ntwo\nthree\nfour\r\n\n";

fn session(commands: &[&str]) -> (Rc<Desk>, Debugger) {
    let desk = Rc::new(Desk::default());
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        let spelled = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let bytes = [format!("*{}\r\n", words.len())].into_iter().chain(spelled).collect::<String>();
        desk.said.borrow_mut().push_back(bytes.into_bytes());
    }
    let debugger = Debugger::new(SOURCE, Box::new(Wire(Rc::clone(&desk))));
    (desk, debugger)
}

fn at(line: i64) -> At {
    At { line, is_in_script: true, is_tick: false }
}

/// What was sent since it was last looked at, its lines one per line, arrays apart.
fn sent(desk: &Desk) -> String {
    let sent = std::mem::take(&mut *desk.sent.borrow_mut());
    String::from_utf8_lossy(&sent).replace("\r\n+", "\n").replace("\r\n", "\n")
}

#[test]
fn steps_stop_at_each_line_and_continuing_stops_at_breakpoints_only() {
    let (desk, debugger) = session(&["s", "b 4", "c", "c"]);
    for line in 1..=4 {
        assert_eq!(debugger.reach(at(line), &mut Fake), Ok(()));
    }
    let wanted = "*2\n* Stopped at 1, stop reason = step over\n-> 1   one\n\
                  *2\n* Stopped at 2, stop reason = step over\n-> 2   two\n\
                  *2\n   3   three\n  #4   four\n\
                  *2\n* Stopped at 4, stop reason = break point\n->#4   four\n";
    assert_eq!(sent(&desk), wanted);
    debugger.ask_to_stop();
    let elsewhere = At { is_in_script: false, ..at(1) };
    assert_eq!(debugger.reach(elsewhere, &mut Fake), Ok(()));
    assert_eq!(sent(&desk), "", "nothing stops outside of the script");
    debugger.end();
    assert_eq!(sent(&desk), "*1\n<endsession>\n");
}

#[test]
fn whatever_breakpoints_are_asked_for_is_answered() {
    let (desk, debugger) = session(&["b", "b 2 5 x -3", "b", "b -2", "b 1", "b 0", "c"]);
    assert_eq!(debugger.reach(at(1), &mut Fake), Ok(()));
    let wanted = "*1\nNo breakpoints set. Use 'b <line>' to add one.\n\
                  *6\n-> 1   one\n  #2   two\n   3   three\nWrong line number.\nInvalid argument:'x'\n\
                  No breakpoint in the specified line.\n\
                  *2\n1 breakpoints set:\n  #2   two\n*1\nBreakpoint removed.\n*2\n->#1   one\n   2   two\n\
                  *1\nAll breakpoints removed.\n";
    assert_eq!(sent(&desk).split_once("one\n").unwrap().1, wanted);
}

#[test]
fn breakpoints_and_lines_that_wait_are_bounded() {
    let (_, debugger) = session(&[]);
    let state = &mut *debugger.state.borrow_mut();
    state.source = vec![b"line".to_vec(); 100];
    (1..=100).for_each(|line| state.add_breakpoint(line));
    assert_eq!(state.breakpoints.len(), BREAKPOINTS_COUNT_MAX);
    state.lines.clear();
    (0..3).for_each(|_| state.say(vec![b'x'; LINES_BYTES_MAX]));
    assert!(state.lines.len() < 3);
}

#[test]
fn values_are_cut_to_the_length_asked_for() {
    let (desk, debugger) = session(&["p", "p", "m 5", "m 0", "p x", "p nothing", "p KEYS", "e a b", "e bad", "t", "c"]);
    assert_eq!(debugger.reach(at(1), &mut Fake), Ok(()));
    let cut = format!("<value> long = {} ...", "y".repeat(256 - "<value> long = ".len()));
    let hint = "<hint> The above reply was trimmed. Use 'maxlen 0' to disable trimming.";
    let wanted = format!(
        "*3\n<value> x = 1\n{cut}\n{hint}\n*2\n<value> x = 1\n{cut}\n\
         *1\n<value> replies are truncated at 60 bytes.\n*1\n<value> replies are unlimited.\n*1\n<value> 1\n\
         *1\nNo such variable.\n*1\n<value> KEYS\n*1\n<retval> a b\n*1\n<error> no\n\
         *4\nIn inner:\n   2   two\nFrom top level:\n   3   three\n"
    );
    assert_eq!(sent(&desk).split_once("one\n").unwrap().1, wanted);
}

#[test]
fn commands_are_shown_while_it_steps() {
    let (desk, debugger) = session(&["c"]);
    let mut args = wire::args::Ranges::new();
    args.begin_own();
    (0..12).for_each(|number: u8| args.add(&[b'a' + number]));
    debugger.show_command(args.args(&[]));
    debugger.show_reply(b"-ERR no\r\n");
    debugger.show_refusal(b"ERR not this");
    debugger.show_refusal(b"OOM not now");
    assert_eq!(debugger.reach(at(1), &mut Fake), Ok(()));
    debugger.show_command(args.args(&[]));
    debugger.end();
    let wanted = "*7\n<redis> a b c d e f g h i j ... (1 more)\n<error> -ERR no\n<reply> \"-ERR no\"\n\
                  <error> not this\n<error> -OOM not now\n* Stopped at 1, stop reason = step over\n-> 1   one\n\
                  *1\n<endsession>\n";
    assert_eq!(sent(&desk), wanted);
}

#[test]
fn who_has_gone_stops_nothing_and_what_does_not_end_is_endless() {
    let (desk, debugger) = session(&["b 2"]);
    assert_eq!(debugger.reach(at(1), &mut Fake), Ok(()));
    debugger.ask_to_stop();
    for _ in 0..2 {
        assert_eq!(debugger.reach(at(2), &mut Fake), Ok(()));
        assert_eq!(debugger.reach(At { is_tick: true, ..at(3) }, &mut Fake), Ok(()));
        assert_eq!(debugger.is_endless(), *desk.now_ms.borrow() == ENDLESS_AFTER_MS);
        *desk.now_ms.borrow_mut() = ENDLESS_AFTER_MS;
    }
    assert_eq!(sent(&desk).matches("Stopped").count(), 1);
}

#[test]
fn code_of_the_clients_has_a_time_of_its_own() {
    let (desk, debugger) = session(&["c"]);
    *desk.now_ms.borrow_mut() = 3 * ENDLESS_AFTER_MS;
    debugger.begin_eval();
    assert!(!debugger.is_endless(), "its client is there");
    debugger.state.borrow_mut().is_stopped = true;
    assert!(!debugger.is_eval_slow());
    *desk.now_ms.borrow_mut() += ENDLESS_AFTER_MS;
    assert!(debugger.is_eval_slow());
    debugger.state.borrow_mut().is_stopped = false;
    assert!(!debugger.is_eval_slow(), "it is the script that runs");
}

#[test]
fn an_abort_and_bytes_that_are_no_command_are_errors() {
    let (_, debugger) = session(&["a"]);
    assert_eq!(debugger.reach(at(1), &mut Fake), Err(Raised("script aborted for user request")));
    let (desk, debugger) = session(&[]);
    desk.said.borrow_mut().push_back(b"step\r\n".to_vec());
    assert_eq!(debugger.reach(at(1), &mut Fake), Err(Raised("protocol error")));
    debugger.ask_to_stop();
    assert_eq!(debugger.reach(at(1), &mut Fake), Ok(()), "what was broken is gone, and so is the client");
    let (desk, debugger) = session(&[]);
    let endless = [&b"*2\r\n$1000000\r\n"[..], &vec![b'x'; RECEIVED_BYTES_MAX]].concat();
    desk.said.borrow_mut().push_back(endless);
    assert_eq!(debugger.reach(at(1), &mut Fake), Err(Raised("max client buffer reached")));
}
