//! A blocking client of one connection: one command, one reply. For control (PING, DBSIZE, BGSAVE), never for load.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use crate::error::Error;
use crate::resp::{self, Reply};

/// One blocking connection to a server on this machine.
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    /// Connects to `port` of the loopback address.
    pub fn connect(port: u16) -> Result<Self, Error> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(Error::io("connect"))?;
        stream.set_nodelay(true).map_err(Error::io("set nodelay"))?;
        Ok(Self { stream, input: Vec::new() })
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
        loop {
            if let Some(bytes) = resp::reply_bytes(&self.input)? {
                let reply = resp::read(&self.input[..bytes])?;
                self.input.drain(..bytes);
                return Ok(reply);
            }
            let mut chunk = [0; 16 << 10];
            match self.stream.read(&mut chunk).map_err(Error::io("read a reply"))? {
                0 => return Err(Error::Closed),
                count => self.input.extend_from_slice(&chunk[..count]),
            }
        }
    }
}
