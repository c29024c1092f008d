//! Tidiness: the rules of the house that a compiler does not check, as one list of broken places.
//!
//! Deliberately not here: taste. Each rule is in a file of its own and has a test that breaks it on purpose.

use crate::step::Failure;
use crate::{edges, links, sources};

/// Every place where the repository breaks its own rules, in words.
pub fn problems() -> Result<Vec<String>, Failure> {
    let mut problems = edges::problems(&edges::workspace()?);
    problems.extend(sources::problems(&sources::all()?));
    problems.extend(links::problems(&links::documents()?));
    Ok(problems)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_is_tidy() {
        let problems = super::problems().expect("the repository can be read");
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
