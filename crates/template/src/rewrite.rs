//! Turns the field accesses of a parsed template into calls, because methods are calls in Go.
//!
//! `.A.B x` becomes `__call (__get . "A") "B" x`, a lone `.A` becomes `__get . "A"`, and what an
//! action prints passes through `__show`, which knows how Go prints times, durations and numbers.

use gotmpl::parse::{CommandNode, Expr, ListNode, Node, PipeNode, Pos, SmolStr};

/// Looks up a field or calls a method without arguments: receiver, name.
pub(crate) const GET: &str = "__get";
/// Calls a method: receiver, name, arguments.
pub(crate) const CALL: &str = "__call";
/// Turns a time or a duration into what Go would print for it.
pub(crate) const PRINT: &str = "__print";
/// The same, and numbers too: for what is printed without a format.
pub(crate) const SHOW: &str = "__show";

/// Turns a month, a weekday or a duration into its number.
pub(crate) const NUMBER: &str = "__number";

/// The builtins that compare; each argument passes through [`NUMBER`] first.
const COMPARERS: [&str; 6] = ["eq", "ne", "lt", "le", "gt", "ge"];
/// The builtins that print their arguments; each argument passes through [`PRINT`] first.
const PRINTERS: [&str; 6] = ["print", "printf", "println", "html", "js", "urlquery"];

/// Rewrites a body in place.
pub(crate) fn list(body: &mut ListNode) {
    for node in &mut body.nodes {
        match node {
            Node::List(inner) => list(inner),
            Node::Action(action) => {
                pipe(&mut action.pipe);
                if action.pipe.decl.is_empty() {
                    action.pipe.commands.push(command(action.pos, vec![name(action.pos, SHOW)]));
                }
            }
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
                pipe(&mut branch.pipe);
                list(&mut branch.body);
                if let Some(otherwise) = &mut branch.else_body {
                    list(otherwise);
                }
            }
            Node::Template(call) => {
                if let Some(argument) = &mut call.pipe {
                    pipe(argument);
                }
            }
            Node::Define(define) => list(&mut define.body),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
}

fn pipe(pipe: &mut PipeNode) {
    let commands = std::mem::take(&mut pipe.commands);
    for (at, mut one) in commands.into_iter().enumerate() {
        let piped = at > 0;
        let wrapper = wrapper(one.args.first());
        let takes_arguments = piped || one.args.len() > 1;
        one.args = arguments(std::mem::take(&mut one.args), takes_arguments, wrapper);
        if let Some(wrapper) = wrapper.filter(|_| piped) {
            pipe.commands.push(command(one.pos, vec![name(one.pos, wrapper)]));
        }
        pipe.commands.push(one);
    }
}

/// What the arguments of a function pass through before it sees them.
fn wrapper(first: Option<&Expr>) -> Option<&'static str> {
    let Some(Expr::Identifier(_, name)) = first else { return None };
    let name = name.as_str();
    match (PRINTERS.contains(&name), COMPARERS.contains(&name)) {
        (true, _) => Some(PRINT),
        (_, true) => Some(NUMBER),
        _ => None,
    }
}

/// Rewrites a command's words: a method call when the first is a field that takes arguments.
fn arguments(words: Vec<Expr>, takes_arguments: bool, wrapper: Option<&'static str>) -> Vec<Expr> {
    let mut words = words.into_iter();
    let Some(first) = words.next() else { return Vec::new() };
    let mut rewritten = match split_method(first, takes_arguments) {
        Ok((receiver, method)) => {
            let pos = receiver.pos();
            vec![name(pos, CALL), expr(receiver), Expr::String(pos, method.as_str().into())]
        }
        Err(first) => vec![expr(first)],
    };
    rewritten.extend(words.map(|word| {
        let word = expr(word);
        match wrapper {
            Some(wrapper) => call(word.pos(), vec![name(word.pos(), wrapper), word]),
            None => word,
        }
    }));
    rewritten
}

/// Separates the last field of a chain that is called with arguments.
fn split_method(first: Expr, takes_arguments: bool) -> Result<(Expr, SmolStr), Expr> {
    if !takes_arguments {
        return Err(first);
    }
    match first {
        Expr::Field(pos, mut fields) => match fields.pop() {
            Some(method) if fields.is_empty() => Ok((Expr::Dot(pos), method)),
            Some(method) => Ok((Expr::Field(pos, fields), method)),
            None => Err(Expr::Field(pos, fields)),
        },
        Expr::Variable(pos, variable, mut fields) => match fields.pop() {
            Some(method) => Ok((Expr::Variable(pos, variable, fields), method)),
            None => Err(Expr::Variable(pos, variable, fields)),
        },
        Expr::Chain(pos, inner, mut fields) => match fields.pop() {
            Some(method) => Ok((Expr::Chain(pos, inner, fields), method)),
            None => Err(Expr::Chain(pos, inner, fields)),
        },
        other => Err(other),
    }
}

fn expr(word: Expr) -> Expr {
    match word {
        Expr::Field(pos, fields) => chain(pos, Expr::Dot(pos), fields),
        Expr::Variable(pos, variable, fields) => {
            chain(pos, Expr::Variable(pos, variable, Vec::new()), fields)
        }
        Expr::Chain(pos, inner, fields) => chain(pos, expr(*inner), fields),
        Expr::Pipe(pos, mut inner) => {
            pipe(&mut inner);
            Expr::Pipe(pos, inner)
        }
        other => other,
    }
}

fn chain(pos: Pos, receiver: Expr, fields: Vec<SmolStr>) -> Expr {
    fields.into_iter().fold(receiver, |receiver, field| {
        call(pos, vec![name(pos, GET), receiver, Expr::String(pos, field.as_str().into())])
    })
}

fn call(pos: Pos, args: Vec<Expr>) -> Expr {
    let commands = vec![command(pos, args)];
    Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands, is_assign: false })
}

fn command(pos: Pos, args: Vec<Expr>) -> CommandNode {
    CommandNode { pos, args }
}

fn name(pos: Pos, text: &str) -> Expr {
    Expr::Identifier(pos, text.into())
}
