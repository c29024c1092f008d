//! Who a request is from: `Authorization` to a user of the server's, as AUTH does it.
//!
//! ```text
//! Basic base64(user:password) │ Bearer user:password │ Bearer password ─► AUTH user password ─► the session's user
//! ```
//!
//! The user `default` is meant where none is named. Requests without the header are the default user's, who needs no
//! password where there is none. What was checked last is remembered by the connection: the same header again costs a
//! comparison, and holds as long as a login of a RESP connection does.
//!
//! Deliberately not: sessions, cookies, tokens of our own.

use crate::connection::{Caller, End, Stream};

/// Longest header that is looked at.
const HEADER_BYTES_MAX: usize = 8 << 10;

/// What a connection knows of who sends its requests.
#[derive(Default)]
pub struct Login {
    /// The header that the session's user came of; `None` for none.
    checked: Option<Vec<u8>>,
}

/// Whether a request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggedIn {
    /// Its user is the session's.
    Yes,
    /// A password is needed, and there was none.
    Missing,
    /// The header is no login, or a wrong one.
    Wrong,
}

impl Login {
    /// Whether the user of a request is the session's already: the header is that of the request before.
    ///
    /// # Cost
    /// A comparison.
    #[inline]
    pub fn is_known<S: Stream>(&self, caller: &mut Caller<S>, authorization: Option<&[u8]>) -> bool {
        self.checked.as_deref() == authorization && caller.session().is_authenticated
    }

    /// Makes the user of a request that of the session.
    ///
    /// # Errors
    /// The connection is to end.
    ///
    /// # Cost
    /// A comparison when the user [is known](Login::is_known); else AUTH.
    pub async fn check<S: Stream>(
        &mut self,
        caller: &mut Caller<S>,
        authorization: Option<&[u8]>,
    ) -> Result<LoggedIn, End> {
        if self.is_known(caller, authorization) {
            return Ok(LoggedIn::Yes);
        }
        Box::pin(self.check_anew(caller, authorization)).await
    }

    #[cold]
    async fn check_anew<S: Stream>(
        &mut self,
        caller: &mut Caller<S>,
        authorization: Option<&[u8]>,
    ) -> Result<LoggedIn, End> {
        self.checked = None;
        caller.log_out();
        let Some(header) = authorization else {
            let is_open = caller.session().is_authenticated;
            return Ok(if is_open { LoggedIn::Yes } else { LoggedIn::Missing });
        };
        let Some((user, password)) = credentials(header) else { return Ok(LoggedIn::Wrong) };
        let reply = caller.call_own(&[b"AUTH", &user, &password]).await?;
        let is_right = caller.replies()[reply] == *b"+OK\r\n";
        caller.begin();
        if !is_right {
            return Ok(LoggedIn::Wrong);
        }
        self.checked = Some(header.to_vec());
        Ok(LoggedIn::Yes)
    }
}

/// User and password of an `Authorization` header.
fn credentials(header: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    if HEADER_BYTES_MAX < header.len() {
        return None;
    }
    let space = memchr::memchr(b' ', header)?;
    let (scheme, rest) = (&header[..space], header[space..].trim_ascii());
    let told = if scheme.eq_ignore_ascii_case(b"basic") {
        base64_decode(rest)?
    } else if scheme.eq_ignore_ascii_case(b"bearer") {
        rest.to_vec()
    } else {
        return None;
    };
    Some(match memchr::memchr(b':', &told) {
        Some(0) => (b"default".to_vec(), told[1..].to_vec()),
        Some(at) => (told[..at].to_vec(), told[at + 1..].to_vec()),
        None => (b"default".to_vec(), told),
    })
}

/// Bytes of base64 with the usual alphabet and padding, which may be left out. `None` for anything else.
pub fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut word = 0_u32;
        for byte in group {
            let sextet = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            word = word << 6 | u32::from(sextet);
        }
        let [_, a, b, c] = (word << (6 * (4 - group.len()))).to_be_bytes();
        match group.len() {
            4 => out.extend([a, b, c]),
            3 if c == 0 => out.extend([a, b]),
            2 if b == 0 && c == 0 => out.push(a),
            _ => return None,
        }
    }
    Some(out)
}

/// Appends base64 with the usual alphabet and padding.
pub fn base64_encode(bytes: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.reserve(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let sextet = (word >> (18 - 6 * index)) as usize & 63;
            out.push(if index <= group.len() { ALPHABET[sextet] } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")]
        {
            let mut out = Vec::new();
            base64_encode(bytes.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes());
            assert_eq!(base64_decode(text.as_bytes()).as_deref(), Some(bytes.as_bytes()));
            assert_eq!(base64_decode(text.trim_end_matches('=').as_bytes()).as_deref(), Some(bytes.as_bytes()));
        }
        let all: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        base64_encode(&all, &mut out);
        assert_eq!(base64_decode(&out), Some(all));
        for wrong in ["A", "Zh==", "Zm9=", "Zg===", "a b=", "a-b_"] {
            assert_eq!(base64_decode(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn credentials_are_read_from_basic_and_bearer() {
        let read = |text: &str| credentials(text.as_bytes());
        let of = |user: &str, password: &str| Some((user.as_bytes().to_vec(), password.as_bytes().to_vec()));
        assert_eq!(read("Basic Ym9iOnA6dw=="), of("bob", "p:w"));
        assert_eq!(read("bearer bob:pw"), of("bob", "pw"));
        assert_eq!(read("Bearer pw"), of("default", "pw"));
        assert_eq!(read("Basic OnB3"), of("default", "pw"));
        for wrong in ["Basic", "Basic !", "Digest x", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
