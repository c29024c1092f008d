//! A blocking client of one connection: one command, one reply. For control (PING, DBSIZE, BGSAVE), never for load.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use crate::error::Error;
use crate::resp::{self, Reply};

/// Asked for at once.
const READ_BYTES: usize = 64 << 10;

/// One blocking connection to a server on this machine.
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// Bytes at the front of `input` that have been looked at.
    taken: usize,
}

impl Client {
    /// Connects to `port` of the loopback address.
    pub fn connect(port: u16) -> Result<Self, Error> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(Error::io("connect"))?;
        stream.set_nodelay(true).map_err(Error::io("set nodelay"))?;
        Ok(Self { stream, input: Vec::new(), taken: 0 })
    }

    /// Sends the words of `command` and waits for the reply, which may be an error.
    pub fn call(&mut self, command: &str) -> Result<Reply, Error> {
        let args: Vec<&[u8]> = command.split_whitespace().map(str::as_bytes).collect();
        let mut out = Vec::new();
        resp::encode(&args, &mut out);
        self.stream.write_all(&out).map_err(Error::io("send a command"))?;
        self.receive()
    }

    /// As [`Client::call`], for commands whose reply is an integer.
    pub fn call_integer(&mut self, command: &str) -> Result<i64, Error> {
        match self.call(command)? {
            Reply::Integer(number) => Ok(number),
            Reply::Error(reply) => Err(Error::Refused { reply }),
            reply => Err(Error::WrongAnswer { detail: format!("{command} answered {reply:?}") }),
        }
    }

    fn receive(&mut self) -> Result<Reply, Error> {
        let reply = self.receive_item(resp::read)?;
        // Elements go one by one: looking at all of a long array again whenever some more has come would be quadratic.
        let mut elements_left = resp::element_count(&reply);
        while 0 < elements_left {
            elements_left = elements_left - 1 + self.receive_item(resp::elements_announced)?;
        }
        if self.taken == self.input.len() {
            self.input.clear();
            self.taken = 0;
        }
        Ok(reply)
    }

    /// What `look` makes of the next reply, of an array its header only.
    fn receive_item<T>(&mut self, look: fn(&[u8]) -> Result<T, Error>) -> Result<T, Error> {
        loop {
            let rest = &self.input[self.taken..];
            if let Some(bytes) = resp::item_bytes(rest)? {
                let seen = look(&rest[..bytes])?;
                self.taken += bytes;
                return Ok(seen);
            }
            self.input.drain(..self.taken);
            self.taken = 0;
            let filled = self.input.len();
            self.input.resize(filled + READ_BYTES, 0);
            let count = self.stream.read(&mut self.input[filled..]).map_err(Error::io("read a reply"))?;
            self.input.truncate(filled + count);
            if count == 0 {
                return Err(Error::Closed);
            }
        }
    }
}
