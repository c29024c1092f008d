//! The request parser from outside: whole buffers, every cut of them, hostile ones and random ones.
//!
//! Deliberately not here: the quoting table of inline commands, which is tested beside its code.

use proptest::prelude::*;
use wire::request::{ARGS_COUNT_MAX, LINE_BYTES_MAX};
use wire::{Limits, Login, Parsed, ProtocolError, Ranges, RequestParser};

type Command = Vec<Vec<u8>>;

/// What a connection does: reads pieces, keeps what is not consumed, collects commands.
struct Connection {
    parser: RequestParser,
    ranges: Ranges,
    limits: Limits,
    unconsumed: Vec<u8>,
    commands: Vec<Command>,
    empties_count: usize,
    bytes_missing: usize,
}

impl Connection {
    fn new(login: Login) -> Self {
        Connection {
            parser: RequestParser::new(),
            ranges: Ranges::new(),
            limits: Limits::standard(login),
            unconsumed: Vec::new(),
            commands: Vec::new(),
            empties_count: 0,
            bytes_missing: 0,
        }
    }

    fn receive(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        self.unconsumed.extend_from_slice(piece);
        let mut consumed = 0;
        loop {
            let rest = &self.unconsumed[consumed..];
            match self.parser.parse(rest, &self.limits, &mut self.ranges)? {
                Parsed::Incomplete { bytes_missing } => {
                    assert!(bytes_missing > 0);
                    self.bytes_missing = bytes_missing;
                    self.unconsumed.drain(..consumed);
                    return Ok(());
                }
                Parsed::Empty { bytes } => {
                    self.empties_count += 1;
                    consumed += bytes;
                }
                Parsed::Command { bytes } => {
                    self.commands.push(self.ranges.args(&rest[..bytes]).iter().map(<[u8]>::to_vec).collect());
                    consumed += bytes;
                }
            }
        }
    }
}

fn parse_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Connection, ProtocolError> {
    let mut connection = Connection::new(Login::Done);
    for piece in pieces {
        connection.receive(piece)?;
    }
    Ok(connection)
}

fn error_of(login: Login, bytes: &[u8]) -> Option<String> {
    Connection::new(login).receive(bytes).err().map(|error| error.to_string())
}

fn encode(command: &Command) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for arg in command {
        bytes.extend(format!("${}\r\n", arg.len()).bytes());
        bytes.extend(arg);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// Every kind of frame: arrays with lengths of one, two and three digits, empty ones, inline, blank lines.
fn pipeline() -> (Vec<u8>, Vec<Command>) {
    let commands: Vec<Command> = vec![
        vec![b"GET".to_vec(), b"key".to_vec()],
        vec![b"SET".to_vec(), b"a\r\nb".to_vec(), vec![b'v'; 57], b"".to_vec()],
        (0..12).map(|index| vec![b'*'; index * 11]).collect(),
        vec![b"echo".to_vec(), b"two words\n".to_vec(), b"\x00\xff".to_vec(), b"it's".to_vec()],
        vec![b"PING".to_vec()],
        vec![b"MGET".to_vec(), b"$1\r\n".to_vec()],
    ];
    let mut bytes = Vec::new();
    bytes.extend(encode(&commands[0]));
    bytes.extend(b"\r\n");
    bytes.extend(encode(&commands[1]));
    bytes.extend(b"*0\r\n*-1\r\n*-10\r\n");
    bytes.extend(encode(&commands[2]));
    bytes.extend(b" echo  \"two words\\n\" \"\\x00\\xFF\" 'it\\'s'\r\n");
    bytes.extend(b"PING\n   \n");
    bytes.extend(encode(&commands[5]));
    (bytes, commands)
}

#[test]
fn every_pair_of_cuts_gives_the_same_commands() {
    let (bytes, commands) = pipeline();
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            let connection = parse_pieces([&bytes[..first], &bytes[first..second], &bytes[second..]]).unwrap();
            assert_eq!(connection.commands, commands, "cut at {first} and {second}");
            assert_eq!(connection.empties_count, 5);
            assert!(connection.unconsumed.is_empty());
        }
    }
}

#[test]
fn bytes_one_at_a_time_give_the_same_commands() {
    let (bytes, commands) = pipeline();
    assert_eq!(parse_pieces(bytes.chunks(1)).unwrap().commands, commands);
}

#[test]
fn the_bytes_missing_from_a_bulk_are_exact() {
    let whole = encode(&vec![b"SET".to_vec(), b"k".to_vec(), vec![b'x'; 1000]]);
    let body_start = whole.len() - 1002;
    for cut in body_start..whole.len() {
        let connection = parse_pieces([&whole[..cut]]).unwrap();
        assert_eq!(connection.bytes_missing, whole.len() - cut);
    }
}

#[test]
fn protocol_errors_are_worded_as_redis_words_them() {
    let line = "1".repeat(LINE_BYTES_MAX);
    let too_many = format!("*{}\r\n", ARGS_COUNT_MAX + 1);
    #[rustfmt::skip]
    let table: &[(&str, &str)] = &[
        (&too_many, "invalid multibulk length"), ("*3000000000\r\n", "invalid multibulk length"),
        ("*x\r\n", "invalid multibulk length"), ("*\r\n", "invalid multibulk length"), ("*+1\r\n", "invalid multibulk length"),
        ("*01\r\n", "invalid multibulk length"), ("*1 \r\n", "invalid multibulk length"),
        ("*-0\r\n", "invalid multibulk length"), ("*99999999999999999999\r\n", "invalid multibulk length"),
        ("*1\r\n$-10\r\n", "invalid bulk length"), ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$2000000000\r\n", "invalid bulk length"), ("*1\r\n$blabla\r\n", "invalid bulk length"),
        ("*1\r\n$\r\n", "invalid bulk length"), ("*1\r\n$536870913\r\n", "invalid bulk length"),
        ("*1\r\n$9223372036854775807\r\n", "invalid bulk length"),
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"), ("*1\r\n\r\n", "expected '$', got '\r'"),
        (&format!("*{line}"), "too big mbulk count string"), (&format!("*1\r\n${line}"), "too big bulk count string"),
        (&format!("*1\r\nx{line}"), "too big bulk count string"),
        (&format!("x{line}"), "too big inline request"), ("set \"\"k\"\"\" v\r\n", "unbalanced quotes in request"),
    ];
    for (bytes, detail) in table {
        let shown = &bytes[..bytes.len().min(40)];
        assert_eq!(error_of(Login::Done, bytes.as_bytes()), Some(format!("Protocol error: {detail}")), "{shown:?}");
    }
}

#[test]
fn limits_are_inclusive() {
    let line = "1".repeat(LINE_BYTES_MAX - 1);
    for bytes in
        [format!("*{line}"), format!("x{line}"), "*1\r\n$536870912\r\n".to_owned(), "*2147483647\r\n".to_owned()]
    {
        assert_eq!(error_of(Login::Done, bytes.as_bytes()), None);
    }
    assert_eq!(parse_pieces([format!("x{line}1111\r\n").as_bytes()]).unwrap().commands.len(), 1, "its end has come");
}

#[test]
fn a_client_that_has_not_logged_in_is_held_to_little() {
    assert_eq!(error_of(Login::Required, b"*10\r\n$16384\r\n"), None);
    let too_many = Some("Protocol error: unauthenticated multibulk length".to_owned());
    assert_eq!(error_of(Login::Required, b"*11\r\n"), too_many);
    let too_large = Some("Protocol error: unauthenticated bulk length".to_owned());
    assert_eq!(error_of(Login::Required, b"*1\r\n$16385\r\n"), too_large);
}

#[test]
fn a_nul_hides_the_end_of_an_unfinished_line() {
    for start in ["\0", "*\0", "$\0"] {
        let mut connection = Connection::new(Login::Done);
        connection.receive(start.as_bytes()).unwrap();
        let error = (0..=LINE_BYTES_MAX).find_map(|_| connection.receive(b"payload\r\n").err());
        let expected = if start == "*\0" { ProtocolError::CountTooLong } else { ProtocolError::InlineTooLong };
        assert_eq!(error, Some(expected), "{start:?}");
        assert!(connection.commands.is_empty());
    }
}

#[test]
fn a_count_alone_allocates_nothing() {
    let mut connection = Connection::new(Login::Done);
    connection.receive(b"*2147483647\r\n$536870912\r\n").unwrap();
    assert_eq!(connection.ranges.count(), 0);
    assert_eq!(connection.bytes_missing, (512 << 20) + 2);
}

#[test]
fn many_arguments_arrive_in_small_pieces() {
    let command: Command = (0..200_000u32).map(|index| index.to_string().into_bytes()).collect();
    let bytes = encode(&command);
    let connection = parse_pieces(bytes.chunks(16 << 10)).unwrap();
    assert!(connection.commands == [command], "all arguments, in order");
}

#[test]
fn lines_and_bulks_must_end_as_the_protocol_says() {
    let good = "*2\r\n$3\r\nGET\r\n$13\r\nkey\rwith\nends\r\n";
    assert_eq!(parse_pieces([good.as_bytes()]).unwrap().commands, [[b"GET".to_vec(), b"key\rwith\nends".to_vec()]]);
    #[rustfmt::skip]
    let bad = [
        ("*2\rx$3", ProtocolError::LineEnd), ("*2x\n$3\r\nGET\r\n", ProtocolError::Count),
        ("*2\r\n$3\rxGET", ProtocolError::LineEnd), ("*2\r\n$3x\nGET\r\n", ProtocolError::BulkLength),
        ("*2\r\n$3\r\nGETxx", ProtocolError::LineEnd), ("*2\r\n$3\r\nGET\rx", ProtocolError::LineEnd),
        ("*2\r\n$3\r\nGETx\n", ProtocolError::LineEnd), ("*2\r\n$3\r\nGETS\r\n", ProtocolError::LineEnd),
        ("*1\r\nx3\rx", ProtocolError::NotBulk(b'x')),
    ];
    for (bytes, error) in bad {
        assert_eq!(parse_pieces([bytes.as_bytes()]).err(), Some(error), "{bytes:?}");
        assert_eq!(parse_pieces(bytes.as_bytes().chunks(1)).err(), Some(error), "{bytes:?} byte by byte");
    }
}

/// Bytes that look like requests more often than chance would have it.
fn almost_requests() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"*".to_vec()),
        Just(b"$".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"'\\x4".to_vec()),
        Just(b"*1\r\n$4\r\nPING\r\n".to_vec()),
        Just(b"*2\r\n".to_vec()),
        Just(b"$12\r\n".to_vec()),
        (-2i64..30).prop_map(|number| number.to_string().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(token, 0..30).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn any_bytes_parse_the_same_in_one_piece_and_in_many(bytes in almost_requests(), piece_bytes in 1usize..9) {
        let parse = |piece_bytes: usize| {
            let mut connection = Connection::new(Login::Done);
            let error = bytes.chunks(piece_bytes).find_map(|piece| connection.receive(piece).err());
            (error, connection.commands, connection.empties_count)
        };
        prop_assert_eq!(parse(piece_bytes), parse(bytes.len().max(1)));
    }

    #[test]
    fn encoded_commands_parse_to_themselves(
        commands in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..130), 1..15), 1..6),
        piece_bytes in 1usize..200,
    ) {
        let bytes: Vec<u8> = commands.iter().flat_map(encode).collect();
        let connection = parse_pieces(bytes.chunks(piece_bytes)).unwrap();
        prop_assert_eq!(connection.commands, commands);
        prop_assert!(connection.unconsumed.is_empty());
    }
}
