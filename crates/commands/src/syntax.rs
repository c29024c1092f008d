//! The syntax that a command's row states, taken apart into arguments.
//!
//! ```text
//! syntax   := sequence or nothing
//! sequence := item item ...
//! item     := word               a value that the client chooses: has a lower-case letter
//!           | TOKEN              stands for itself: has none
//!           | "<" sequence "|" sequence ... ">"                one of them
//!           | "[" sequence ["|" sequence ...] "]"              one of them, or nothing
//!           | sequence "[" the same sequence again "..." "]"   once or more
//! ```
//!
//! A token takes the operands that follow it up to the next token or option, so that `EX seconds` is one argument, and
//! so is `FIELDS numfields field [field ...]`. `a [a ...]` is one argument too, which may be given many times.
//!
//! Deliberately not here: what a word means (`command_docs.rs`), nor anything that reads what clients send; handlers
//! do that. Source: "Command arguments" and "Command key and option notation" of the Redis documentation.

/// One argument of a command; operands of one argument stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument<'s> {
    /// What it is, without its token.
    pub shape: Shape<'s>,
    /// The token in front of it, or all of it for [`Shape::Token`].
    pub token: Option<&'s str>,
    /// Whether it may be left out.
    pub is_optional: bool,
    /// Whether it may be given more than once.
    pub repeats: Repeats,
}

/// What an argument consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape<'s> {
    /// A value that the client chooses; the word is what it is called.
    Word(&'s str),
    /// Nothing but its token.
    Token,
    /// One of these.
    OneOf(Vec<Argument<'s>>),
    /// All of these, in this order.
    Block(Vec<Argument<'s>>),
}

/// How an argument is given more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// Not at all.
    Never,
    /// The token once, then the value many times: `KEYS key [key ...]`.
    Value,
    /// The token before each value: `GET pattern [GET pattern ...]`.
    WithToken,
}

/// Why a text is no syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A sequence, a choice or an option has nothing in it.
    Empty,
    /// A `<` or `[` is not closed, or is closed by the wrong mark.
    Unclosed,
    /// A `]`, `>`, `|` or `...` stands where nothing asks for it.
    Stray,
    /// `<a>` is no choice.
    SingleChoice,
    /// What `...` repeats does not stand in front of its option.
    Unrepeated,
}

/// The arguments of `syntax`, in order.
///
/// # Cost
/// Linear in the text; allocates for each argument.
///
/// # Errors
/// The first fault of the text.
pub fn parse(syntax: &str) -> Result<Vec<Argument<'_>>, Malformed> {
    let lexemes = lexemes(syntax);
    if lexemes.is_empty() {
        return Ok(Vec::new());
    }
    let mut parser = Parser { lexemes: &lexemes };
    let items = parser.sequence()?;
    if parser.lexemes.is_empty() { Ok(arguments(&items)) } else { Err(Malformed::Stray) }
}

/// What is written, before tokens take their operands.
#[derive(PartialEq)]
enum Item<'s> {
    Word(&'s str),
    Token(&'s str),
    /// Two alternatives or more.
    Choice(Vec<Vec<Item<'s>>>),
    /// One alternative or more.
    Optional(Vec<Vec<Item<'s>>>),
    Repeated(Vec<Item<'s>>),
}

fn is_mark(letter: char) -> bool {
    matches!(letter, '[' | ']' | '<' | '>' | '|')
}

/// Words and marks.
fn lexemes(syntax: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = syntax.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|letter: char| is_mark(letter) || letter.is_whitespace()).unwrap_or(rest.len());
        let (lexeme, after) = rest.split_at(end.max(1)); // A mark in front is a lexeme of one byte.
        found.push(lexeme);
        rest = after.trim_start();
    }
    found
}

struct Parser<'l, 's> {
    lexemes: &'l [&'s str],
}

impl<'s> Parser<'_, 's> {
    fn next_if(&mut self, wanted: &str) -> bool {
        let is_next = self.lexemes.first() == Some(&wanted);
        if is_next {
            self.lexemes = &self.lexemes[1..];
        }
        is_next
    }

    fn expect(&mut self, wanted: &str) -> Result<(), Malformed> {
        if self.next_if(wanted) { Ok(()) } else { Err(Malformed::Unclosed) }
    }

    /// Items up to a mark that closes what they stand in.
    fn sequence(&mut self) -> Result<Vec<Item<'s>>, Malformed> {
        let mut items = Vec::new();
        while let Some((lexeme, rest)) = self.lexemes.split_first() {
            if matches!(*lexeme, "]" | ">" | "|" | "...") {
                break;
            }
            self.lexemes = rest;
            match *lexeme {
                "[" => self.option(&mut items)?,
                "<" => items.push(self.choice()?),
                word if word.contains(|letter: char| letter.is_ascii_lowercase()) => items.push(Item::Word(word)),
                token => items.push(Item::Token(token)),
            }
        }
        if items.is_empty() { Err(Malformed::Empty) } else { Ok(items) }
    }

    fn alternatives(&mut self) -> Result<Vec<Vec<Item<'s>>>, Malformed> {
        let mut alternatives = vec![self.sequence()?];
        while self.next_if("|") {
            alternatives.push(self.sequence()?);
        }
        Ok(alternatives)
    }

    /// What follows a `<`.
    fn choice(&mut self) -> Result<Item<'s>, Malformed> {
        let alternatives = self.alternatives()?;
        self.expect(">")?;
        if alternatives.len() == 1 { Err(Malformed::SingleChoice) } else { Ok(Item::Choice(alternatives)) }
    }

    /// What follows a `[`: an option after `items`, or that the last of them repeat.
    fn option(&mut self, items: &mut Vec<Item<'s>>) -> Result<(), Malformed> {
        let mut alternatives = self.alternatives()?;
        let is_repetition = self.next_if("...");
        self.expect("]")?;
        if !is_repetition {
            items.push(Item::Optional(alternatives));
            return Ok(());
        }
        let again = alternatives.pop().filter(|again| alternatives.is_empty() && items.ends_with(again));
        let again = again.ok_or(Malformed::Unrepeated)?;
        items.truncate(items.len() - again.len());
        items.push(Item::Repeated(again));
        Ok(())
    }
}

fn arguments<'s>(items: &[Item<'s>]) -> Vec<Argument<'s>> {
    let mut arguments = Vec::new();
    let mut rest = items;
    while let Some((item, after)) = rest.split_first() {
        let operand_count = match item {
            Item::Token(_) => after.iter().take_while(|item| is_operand(item)).count(),
            _ => 0,
        };
        let (operands, after) = after.split_at(operand_count);
        arguments.push(argument(item, operands));
        rest = after;
    }
    arguments
}

/// Whether a token in front takes it.
fn is_operand(item: &Item<'_>) -> bool {
    match item {
        Item::Word(_) | Item::Choice(_) => true,
        Item::Repeated(items) => is_operand(&items[0]),
        Item::Token(_) | Item::Optional(_) => false,
    }
}

/// The argument that `item` is; `operands` are a token's.
fn argument<'s>(item: &Item<'s>, operands: &[Item<'s>]) -> Argument<'s> {
    match item {
        Item::Word(word) => Argument::of(Shape::Word(word)),
        Item::Token(token) if operands.is_empty() => Argument { token: Some(token), ..Argument::of(Shape::Token) },
        Item::Token(token) => Argument { token: Some(token), ..one(operands) },
        Item::Choice(alternatives) => one_of(alternatives),
        Item::Optional(alternatives) => Argument { is_optional: true, ..one_of(alternatives) },
        Item::Repeated(items) => {
            let argument = one(items);
            let repeats = if argument.token.is_some() { Repeats::WithToken } else { Repeats::Value };
            Argument { repeats, ..argument }
        }
    }
}

/// A sequence as one argument.
fn one<'s>(items: &[Item<'s>]) -> Argument<'s> {
    let mut arguments = arguments(items);
    match arguments.pop() {
        Some(only) if arguments.is_empty() => only,
        last => {
            arguments.extend(last);
            Argument::of(Shape::Block(arguments))
        }
    }
}

fn one_of<'s>(alternatives: &[Vec<Item<'s>>]) -> Argument<'s> {
    match alternatives {
        [only] => one(only),
        _ => Argument::of(Shape::OneOf(alternatives.iter().map(|items| one(items)).collect())),
    }
}

impl<'s> Argument<'s> {
    /// Given once, and without a token.
    fn of(shape: Shape<'s>) -> Self {
        Argument { shape, token: None, is_optional: false, repeats: Repeats::Never }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    fn rendered(arguments: &[Argument<'_>], separator: &str) -> String {
        arguments.iter().map(render).collect::<Vec<_>>().join(separator)
    }

    fn repeated(text: &str) -> String {
        format!("{text} [{text} ...]")
    }

    fn render(argument: &Argument<'_>) -> String {
        let is_bare_option = argument.is_optional && argument.token.is_none() && argument.repeats == Repeats::Never;
        let mut text = match &argument.shape {
            Shape::Word(word) => (*word).to_owned(),
            Shape::Token => String::new(),
            Shape::OneOf(choices) if is_bare_option => rendered(choices, " | "),
            Shape::OneOf(choices) => format!("<{}>", rendered(choices, " | ")),
            Shape::Block(arguments) => rendered(arguments, " "),
        };
        if argument.repeats == Repeats::Value {
            text = repeated(&text);
        }
        text = [argument.token.unwrap_or_default(), &text].join(" ").trim().to_owned();
        if argument.repeats == Repeats::WithToken {
            text = repeated(&text);
        }
        if argument.is_optional { format!("[{text}]") } else { text }
    }

    #[test]
    fn the_syntax_of_every_row_is_well_formed_and_can_be_told_from_its_arguments() {
        for number in 0..table::number_count() as u16 {
            let syntax = table::by_number(number).syntax;
            let told = parse(syntax).map(|arguments| rendered(&arguments, " "));
            assert_eq!(told.as_deref(), Ok(syntax), "{}", table::full_name(number));
        }
    }

    #[test]
    fn a_token_takes_the_operands_up_to_the_next_token_or_option() {
        let shapes = |syntax| parse(syntax).map(|arguments| arguments.iter().map(render).collect::<Vec<_>>());
        assert_eq!(shapes("A b C d e [f] G"), Ok(["A b", "C d e", "[f]", "G"].map(str::to_owned).to_vec()));
        assert_eq!(shapes("A <B | c> [D e]"), Ok(["A <B | c>", "[D e]"].map(str::to_owned).to_vec()));
        assert_eq!(shapes("A b [A b ...] C"), Ok(["A b [A b ...]", "C"].map(str::to_owned).to_vec()));
        assert_eq!(shapes("X A b [A b ...]"), Ok(["X", "A b [A b ...]"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_repetition_says_whether_its_token_repeats() {
        let repeats = |syntax| parse(syntax).map(|arguments| (arguments.len(), arguments[0].repeats));
        assert_eq!(repeats("KEYS key [key ...]"), Ok((1, Repeats::Value)));
        assert_eq!(repeats("GET pattern [GET pattern ...]"), Ok((1, Repeats::WithToken)));
        assert_eq!(repeats("field value [field value ...]"), Ok((1, Repeats::Value)));
        assert_eq!(repeats("FIELDS count field [field ...]"), Ok((1, Repeats::Never)));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for (syntax, fault) in [
            ("[]", Malformed::Empty),
            ("<a | >", Malformed::Empty),
            ("...", Malformed::Empty),
            ("[a", Malformed::Unclosed),
            ("[a>", Malformed::Unclosed),
            ("<a | [b>", Malformed::Unclosed),
            ("a ]", Malformed::Stray),
            ("a | b", Malformed::Stray),
            ("a ...", Malformed::Stray),
            ("<a>", Malformed::SingleChoice),
            ("a [b ...]", Malformed::Unrepeated),
            ("[a ...]", Malformed::Unrepeated),
            ("a [a | a ...]", Malformed::Unrepeated),
        ] {
            assert_eq!(parse(syntax), Err(fault), "{syntax}");
        }
    }

    #[test]
    fn every_text_of_few_marks_is_parsed_or_refused() {
        const LEXEMES: [&str; 8] = ["a", "B", "[", "]", "<", ">", "|", "..."];
        for number in 0..LEXEMES.len().pow(6) {
            let chosen = (0..6).map(|place| LEXEMES[number / LEXEMES.len().pow(place) % LEXEMES.len()]);
            let text = chosen.collect::<Vec<_>>().join(" ");
            if let Ok(arguments) = parse(&text) {
                assert_eq!(
                    parse(&rendered(&arguments, " ")).map(|again| rendered(&again, " ")),
                    Ok(rendered(&arguments, " "))
                );
            }
        }
    }
}
