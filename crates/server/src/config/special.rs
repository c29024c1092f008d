//! Checks for settings whose value is several words: `save`, `bind`, `client-output-buffer-limit` and the like.
//!
//! Deliberately not: acting on them. Each function takes (new, current) and gives the normal text that CONFIG
//! GET answers, or the sentence Redis refuses with.
//!
//! Source: the special configs at the end of Valkey 9's `config.c`; `notify.c` for event classes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::size::parse_bytes;

/// Most addresses one `bind` may name, as in Redis.
const BIND_ADDRESSES_MAX: usize = 16;
/// Client classes of `client-output-buffer-limit` in Redis's order, each with its other name.
const CLIENT_CLASSES: [(&str, &str); 3] = [("normal", "normal"), ("slave", "replica"), ("pubsub", "pubsub")];
/// Words of one class: its name, hard bytes, soft bytes, soft seconds.
const CLASS_WORDS: usize = 4;

/// `seconds changes` pairs; nothing at all turns snapshots off.
pub fn save(text: &str, _current: &str) -> Result<String, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_valid = |(index, word): (usize, &&str)| {
        let least = i64::from(index % 2 == 0);
        word.parse::<i64>().is_ok_and(|number| least <= number)
    };
    if !words.len().is_multiple_of(2) || !words.iter().enumerate().all(is_valid) {
        return Err("Invalid save parameters".to_owned());
    }
    Ok(words.join(" "))
}

/// `class hard soft seconds`, any number of times; classes not named keep what they have.
pub fn output_limits(text: &str, current: &str) -> Result<String, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if !words.len().is_multiple_of(CLASS_WORDS) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    let mut limits = split_limits(current);
    for group in words.chunks_exact(CLASS_WORDS) {
        let index = class_index(group[0])?;
        limits[index] = class_limit(&group[1..])?;
    }
    Ok(join_limits(&limits))
}

/// The limits of every class in `CLIENT_CLASSES` order, from normal text: (hard bytes, soft bytes, soft seconds).
pub fn split_limits(normal: &str) -> [(u64, u64, u64); CLIENT_CLASSES.len()] {
    let words: Vec<&str> = normal.split_whitespace().collect();
    let mut limits = [(0, 0, 0); CLIENT_CLASSES.len()];
    for (limit, group) in limits.iter_mut().zip(words.chunks_exact(CLASS_WORDS)) {
        *limit = class_limit(&group[1..]).unwrap_or_default();
    }
    limits
}

fn join_limits(limits: &[(u64, u64, u64)]) -> String {
    let classes = CLIENT_CLASSES.iter().zip(limits);
    classes
        .map(|((name, _), (hard, soft, seconds))| format!("{name} {hard} {soft} {seconds}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn class_index(word: &str) -> Result<usize, String> {
    let is_named = |(name, other): &(&str, &str)| name.eq_ignore_ascii_case(word) || other.eq_ignore_ascii_case(word);
    let refusal = || "Invalid client class specified in buffer limit configuration.".to_owned();
    CLIENT_CLASSES.iter().position(is_named).ok_or_else(refusal)
}

fn class_limit(words: &[&str]) -> Result<(u64, u64, u64), String> {
    let limit = || Some((parse_bytes(words[0])?, parse_bytes(words[1])?, words[2].parse().ok()?));
    limit().ok_or_else(|| "Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned())
}

/// Addresses to listen on: IP addresses, `localhost`, or `*` for every interface; commas or spaces between.
pub fn bind(text: &str, _current: &str) -> Result<String, String> {
    let words = address_words(text);
    if words.is_empty() {
        return Err("at least one address is needed".to_owned());
    }
    if BIND_ADDRESSES_MAX < words.len() {
        return Err("Too many bind addresses specified.".to_owned());
    }
    match words.iter().find(|word| addresses_of(word).is_empty()) {
        Some(word) => Err(format!("'{word}' is not an IP address, 'localhost' or '*'")),
        None => Ok(words.join(" ")),
    }
}

/// IP addresses, none, one or several; commas or spaces between.
pub fn addresses(text: &str, _current: &str) -> Result<String, String> {
    let words = address_words(text);
    match words.iter().find(|word| word.parse::<IpAddr>().is_err()) {
        Some(word) => Err(format!("'{word}' is not an IP address")),
        None => Ok(words.join(" ")),
    }
}

/// Addresses with a port each, none, one or several; commas or spaces between.
pub fn sockets(text: &str, _current: &str) -> Result<String, String> {
    let words = address_words(text);
    let is_one = |word: &&str| word.parse::<SocketAddr>().is_ok_and(|address| address.port() != 0);
    match words.iter().find(|word| !is_one(word)) {
        Some(word) => Err(format!("'{word}' is not an IP address with a port, such as 10.0.0.1:8080")),
        None => Ok(words.join(" ")),
    }
}

/// Origins as browsers say them (`https://example.com`, without a path), or `*`; commas or spaces between.
pub fn origins(text: &str, _current: &str) -> Result<String, String> {
    let words = address_words(text);
    let is_origin = |word: &str| {
        let host = word.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map_or("", |(_, host)| host);
        word == "*" || (!host.is_empty() && !host.contains('/'))
    };
    match words.iter().find(|word| !is_origin(word)) {
        Some(word) => Err(format!("'{word}' is not an origin such as https://example.com, nor '*'")),
        None => Ok(words.join(" ")),
    }
}

/// Every address that a normal `bind` text stands for.
pub fn bind_addresses(normal: &str) -> Vec<IpAddr> {
    address_words(normal).into_iter().flat_map(addresses_of).collect()
}

fn address_words(text: &str) -> Vec<&str> {
    text.split([' ', ',']).filter(|word| !word.is_empty()).collect()
}

fn addresses_of(word: &str) -> Vec<IpAddr> {
    match word {
        "*" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
        "localhost" => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        _ => word.trim_start_matches('[').trim_end_matches(']').parse().into_iter().collect(),
    }
}

/// Versions of TLS in the order of their age; nothing at all means all of them.
pub fn tls_protocols(text: &str, _current: &str) -> Result<String, String> {
    const VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_known = |word: &&str| VERSIONS.iter().any(|version| version.eq_ignore_ascii_case(word));
    if let Some(word) = words.iter().find(|word| !is_known(word)) {
        return Err(format!("'{word}' is not one of the versions there are: {}", VERSIONS.join(", ")));
    }
    let is_named = |version: &&str| words.iter().any(|word| version.eq_ignore_ascii_case(word));
    Ok(VERSIONS.into_iter().filter(is_named).collect::<Vec<_>>().join(" "))
}

/// Keyspace event classes in Redis's order; all but `K`, `E` and `m` together are written `A`.
pub fn notify_events(text: &str, _current: &str) -> Result<String, String> {
    const ALL: &str = "g$lshzxetd";
    const REST: &str = "nKEm";
    if text.chars().any(|class| class != 'A' && !ALL.contains(class) && !REST.contains(class)) {
        return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned());
    }
    let is_asked = |class: &char| text.contains(*class);
    let is_all = text.contains('A') || ALL.chars().all(|class| text.contains(class));
    let classes: String = if is_all { "A".to_owned() } else { ALL.chars().filter(is_asked).collect() };
    let rest = REST.chars().filter(is_asked).filter(|class| !(is_all && *class == 'n'));
    // `n` (new key) is written only beside single classes, as Redis does.
    Ok(classes.chars().chain(rest).collect())
}

/// Three OOM score adjustments between -2000 and 2000.
pub fn oom_scores(text: &str, _current: &str) -> Result<String, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() != 3 {
        return Err("wrong number of arguments".to_owned());
    }
    if !words.iter().all(|word| word.parse::<i32>().is_ok_and(|score| (-2000..=2000).contains(&score))) {
        return Err("Invalid oom-score-adj-values, elements must be between -2000 and 2000.".to_owned());
    }
    Ok(words.join(" "))
}

/// Percentiles between 0 and 100.
pub fn percentiles(text: &str, _current: &str) -> Result<String, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let numbers: Result<Vec<f64>, _> = words.iter().map(|word| word.parse::<f64>()).collect();
    let numbers = numbers.map_err(|_| "Invalid latency-tracking-info-percentiles parameters".to_owned())?;
    if !numbers.iter().all(|number| (0.0..=100.0).contains(number)) {
        return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".to_owned());
    }
    Ok(numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

/// What a signal does: `default`, or some of `save`, `nosave`, `now`, `force`.
pub fn shutdown_flags(text: &str, _current: &str) -> Result<String, String> {
    const FLAGS: [&str; 5] = ["default", "save", "nosave", "now", "force"];
    let text = text.to_ascii_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() || !words.iter().all(|word| FLAGS.contains(word)) {
        return Err(format!("argument(s) must be one of the following: {}", FLAGS.join(", ")));
    }
    if words.contains(&"save") && words.contains(&"nosave") {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".to_owned());
    }
    let chosen: Vec<&str> = FLAGS[1..].iter().copied().filter(|flag| words.contains(flag)).collect();
    Ok(if chosen.is_empty() { FLAGS[0].to_owned() } else { chosen.join(" ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_a_scheme_and_no_path() {
        assert_eq!(origins("https://a.b,http://c:1  *", "").as_deref(), Ok("https://a.b http://c:1 *"));
        assert_eq!(origins("", "x").as_deref(), Ok(""));
        for wrong in ["a.b", "https://", "https://a/", "://a"] {
            assert!(origins(wrong, "").is_err(), "{wrong}");
        }
    }

    const LIMITS: &str = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";

    #[test]
    fn save_takes_pairs_only() {
        assert_eq!(save("3600 1  300 100", ""), Ok("3600 1 300 100".to_owned()));
        assert_eq!(save("", "1 1"), Ok(String::new()));
        for text in ["1", "0 1", "1 -1", "a b"] {
            assert_eq!(save(text, ""), Err("Invalid save parameters".to_owned()), "{text}");
        }
    }

    #[test]
    fn an_output_limit_changes_only_the_class_it_names() {
        let changed = output_limits("replica 1mb 1kb 5", LIMITS).unwrap();
        assert_eq!(changed, "normal 0 0 0 slave 1048576 1024 5 pubsub 33554432 8388608 60");
        assert_eq!(split_limits(&changed)[1], (1 << 20, 1 << 10, 5));
        assert!(output_limits("normal 1 1", LIMITS).unwrap_err().starts_with("Wrong number"));
        assert!(output_limits("master 1 1 1", LIMITS).unwrap_err().starts_with("Invalid client class"));
        assert!(output_limits("normal 1 1 -1", LIMITS).unwrap_err().starts_with("Error in hard"));
    }

    #[test]
    fn bind_takes_addresses_and_names_the_one_it_refuses() {
        assert_eq!(bind("127.0.0.1,::1", ""), Ok("127.0.0.1 ::1".to_owned()));
        assert_eq!(bind_addresses("* localhost").len(), 3);
        assert_eq!(bind("127.0.0.1 nowhere", ""), Err("'nowhere' is not an IP address, 'localhost' or '*'".to_owned()));
        assert!(bind(" ", "").is_err());
    }

    #[test]
    fn event_classes_come_back_in_order_and_all_is_one_letter() {
        assert_eq!(notify_events("EKlg", ""), Ok("glKE".to_owned()));
        assert_eq!(notify_events("KEA", ""), Ok("AKE".to_owned()));
        assert_eq!(notify_events("g$lshzxetdK", ""), Ok("AK".to_owned()));
        assert_eq!(notify_events("gn", ""), Ok("gn".to_owned()));
        assert!(notify_events("q", "").is_err());
    }

    #[test]
    fn the_other_word_lists_are_normalised_or_refused() {
        assert_eq!(tls_protocols("tlsv1.3  TLSv1.2", ""), Ok("TLSv1.2 TLSv1.3".to_owned()));
        assert_eq!(tls_protocols("", "TLSv1.2"), Ok(String::new()));
        assert!(tls_protocols("TLSv1.1", "").unwrap_err().starts_with("'TLSv1.1' is not one of"));
        assert_eq!(oom_scores("1 1 1", ""), Ok("1 1 1".to_owned()));
        assert!(oom_scores("-2001 0 0", "").unwrap_err().contains("must be between -2000 and 2000"));
        assert_eq!(percentiles("50 99.0 99.90", ""), Ok("50 99 99.9".to_owned()));
        assert!(percentiles("101", "").is_err());
        assert_eq!(shutdown_flags("force NOSAVE now", ""), Ok("nosave now force".to_owned()));
        assert_eq!(shutdown_flags("default", ""), Ok("default".to_owned()));
        assert!(shutdown_flags("save nosave", "").is_err());
    }
}
