//! BITOP: strings combined bit by bit. Shorter ones count as followed by zeros.

use crate::bits_span::combine;
use crate::call::{Call, Flow};
use crate::error::Error;
use crate::refuse;
use crate::strings_read as read;
use keyspace::Event;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
    /// In the first string and in none of the others.
    Diff,
    /// In one of the others and not in the first.
    Diff1,
    /// In the first and in one of the others.
    AndOr,
    /// In exactly one.
    One,
}

impl Operation {
    fn parse(word: &[u8]) -> Option<Operation> {
        let names: [(&str, Operation); 8] = [
            ("and", Operation::And),
            ("or", Operation::Or),
            ("xor", Operation::Xor),
            ("not", Operation::Not),
            ("diff", Operation::Diff),
            ("diff1", Operation::Diff1),
            ("andor", Operation::AndOr),
            ("one", Operation::One),
        ];
        names.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, operation)| operation)
    }

    fn ensure_sources(self, word: &[u8], count: usize) -> Result<(), Error> {
        match self {
            Operation::Not if count != 1 => Err(Error::text("ERR BITOP NOT must be called with a single source key.")),
            Operation::Diff | Operation::Diff1 | Operation::AndOr if count < 2 => {
                let name = String::from_utf8_lossy(word).to_ascii_uppercase();
                Err(refuse!("ERR BITOP {name} must be called with at least two source keys."))
            }
            _ => Ok(()),
        }
    }
}

/// The strings seen so far, combined.
#[derive(Debug)]
struct Combined {
    operation: Operation,
    seen: usize,
    /// For DIFF, DIFF1 and ANDOR the first string, else the result so far.
    first: Vec<u8>,
    /// For DIFF, DIFF1 and ANDOR the bits in any of the others; for ONE those in more than one. Else unused.
    others: Vec<u8>,
    longest_bytes: usize,
}

/// Adds zeros so that there are at least `bytes`.
fn lengthen(to: &mut Vec<u8>, bytes: usize) {
    if to.len() < bytes {
        to.resize(bytes, 0);
    }
}

impl Combined {
    fn new(operation: Operation) -> Combined {
        Combined { operation, seen: 0, first: Vec::new(), others: Vec::new(), longest_bytes: 0 }
    }

    fn add(&mut self, string: &[u8]) {
        self.longest_bytes = self.longest_bytes.max(string.len());
        self.seen += 1;
        if self.seen == 1 {
            self.first = string.to_vec();
            return;
        }
        match self.operation {
            Operation::And => {
                combine(&mut self.first, string, |a, b| a & b);
                self.first.truncate(string.len());
            }
            Operation::Or => self.merge(string, |a, b| a | b),
            Operation::Xor => self.merge(string, |a, b| a ^ b),
            Operation::Not => unreachable!("NOT takes one string"),
            Operation::Diff | Operation::Diff1 | Operation::AndOr => {
                lengthen(&mut self.others, string.len());
                combine(&mut self.others, string, |a, b| a | b);
            }
            Operation::One => self.add_one(string),
        }
    }

    fn merge(&mut self, string: &[u8], with: impl Fn(u64, u64) -> u64) {
        lengthen(&mut self.first, string.len());
        combine(&mut self.first, string, with);
    }

    /// `first` holds the bits of an odd number of strings: those of exactly one once `others` are taken away.
    fn add_one(&mut self, string: &[u8]) {
        let mut again = self.first.clone();
        again.truncate(string.len());
        combine(&mut again, string, |a, b| a & b);
        lengthen(&mut self.others, again.len());
        combine(&mut self.others, &again, |a, b| a | b);
        self.merge(string, |a, b| a ^ b);
    }

    fn finish(mut self) -> Vec<u8> {
        lengthen(&mut self.first, self.longest_bytes);
        lengthen(&mut self.others, self.longest_bytes);
        let Combined { operation, mut first, others, .. } = self;
        match operation {
            Operation::And | Operation::Or | Operation::Xor => {}
            Operation::Not => first.iter_mut().for_each(|byte| *byte = !*byte),
            Operation::Diff | Operation::One => combine(&mut first, &others, |a, b| a & !b),
            Operation::Diff1 => combine(&mut first, &others, |a, b| !a & b),
            Operation::AndOr => combine(&mut first, &others, |a, b| a & b),
        }
        first
    }
}

/// BITOP operation destkey key [key ...]
pub(crate) fn bitop(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (word, target, sources) = (call.arg(1), call.arg(2), call.args.skip(3));
    let operation = Operation::parse(word).ok_or(Error::Syntax)?;
    operation.ensure_sources(word, sources.count())?;
    let mut combined = Combined::new(operation);
    read::each(&mut call.tx, sources.iter(), |string| {
        match string? {
            None => combined.add(b""),
            Some(string) => combined.add(&string.bytes()),
        }
        Ok(())
    })?;
    let result = combined.finish();
    if result.is_empty() {
        if call.tx.delete(target) {
            call.notify(Event::Generic, "del", target);
        }
    } else {
        call.tx.put_string(target, &result, None);
        call.notify(Event::String, "set", target);
    }
    call.reply.count(result.len());
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(operation: Operation, strings: &[&[u8]], bit: u64) -> bool {
        let has = |string: &[u8]| crate::bits_span::bit_at(string, bit);
        let others = || strings[1..].iter().any(|string| has(string));
        match operation {
            Operation::And => strings.iter().all(|string| has(string)),
            Operation::Or => strings.iter().any(|string| has(string)),
            Operation::Xor => strings.iter().filter(|string| has(string)).count() % 2 == 1,
            Operation::Not => !has(strings[0]),
            Operation::Diff => has(strings[0]) && !others(),
            Operation::Diff1 => !has(strings[0]) && others(),
            Operation::AndOr => has(strings[0]) && others(),
            Operation::One => strings.iter().filter(|string| has(string)).count() == 1,
        }
    }

    #[test]
    fn every_operation_agrees_with_its_definition_bit_by_bit() {
        let (a, b, c) =
            (&b"\x00\xff\x0f\xf0abcdefghijk"[..], &b"\xff\x0f"[..], &b"\x33\x33\x33\x33\x33\x33\x33\x33\x33"[..]);
        for name in ["and", "OR", "xor", "diff", "diff1", "andor", "one", "not"] {
            let operation = Operation::parse(name.as_bytes()).expect("its name");
            for strings in [&[a, b, c][..], &[b, a, c], &[c, b, a, a], &[b"", a], &[a, b""], &[b"", b""]] {
                let strings = if operation == Operation::Not { &strings[..1] } else { strings };
                let mut combined = Combined::new(operation);
                for string in strings {
                    combined.add(string);
                }
                let result = combined.finish();
                assert_eq!(result.len(), strings.iter().map(|string| string.len()).max().expect("some"));
                for bit in 0..result.len() as u64 * 8 {
                    let got = crate::bits_span::bit_at(&result, bit);
                    assert_eq!(got, expected(operation, strings, bit), "{name} {strings:?} bit {bit}");
                }
            }
        }
    }
}
