//! Whether a node's parts fit together. What stands below was checked before.

use super::ast::{Aggregate, Binary, Expr, Group, Kind, Type};
use super::functions::Function;
use super::lex::Span;

type Fault = (Span, String);

/// # Errors
/// Where it does not fit, and why.
pub fn check(expr: &Expr) -> Result<(), Fault> {
    match &expr.kind {
        Kind::Unary { inner, .. } => match inner.kind_type() {
            Type::Scalar | Type::Vector => Ok(()),
            other => Err((inner.span, format!("a sign needs a scalar or an instant vector, not a {other}"))),
        },
        Kind::Binary(binary) => check_binary(binary, expr.span),
        Kind::Aggregate(aggregate) => check_aggregate(aggregate),
        Kind::Call { function, args } => check_call(function, args, expr.span),
        _ => Ok(()),
    }
}

fn check_binary(binary: &Binary, span: Span) -> Result<(), Fault> {
    let Binary { op, left, right, bool, matching } = binary;
    let text = op.text();
    for side in [left, right] {
        if !matches!(side.kind_type(), Type::Scalar | Type::Vector) {
            let message = format!("{text} needs scalars or instant vectors, not a {}", side.kind_type());
            return Err((side.span, message));
        }
    }
    let vectors = [left, right].iter().filter(|side| side.kind_type() == Type::Vector).count();
    if *bool && !op.is_comparison() {
        return Err((span, format!("bool only goes with a comparison, not with {text}")));
    }
    if op.is_comparison() && !bool && vectors == 0 {
        return Err((span, format!("a comparison of scalars needs bool: {text} bool")));
    }
    if op.is_set() && vectors < 2 {
        let side = if left.kind_type() == Type::Vector { right } else { left };
        return Err((side.span, format!("{text} needs an instant vector on both sides, not a scalar")));
    }
    let Some(matching) = matching else { return Ok(()) };
    if vectors < 2 {
        return Err((span, "on and ignoring only go between instant vectors".to_owned()));
    }
    if op.is_set() && matching.group != Group::None {
        return Err((span, format!("group_left and group_right don't go with {text}")));
    }
    let twice = matching.include.iter().find(|label| matching.on && matching.labels.contains(label));
    match twice {
        Some(label) => Err((span, format!("label {label:?} may not stand in on and in the group as well"))),
        None => Ok(()),
    }
}

fn check_aggregate(aggregate: &Aggregate) -> Result<(), Fault> {
    let name = aggregate.op.text();
    expect(&aggregate.inner, Type::Vector, name)?;
    if let (Some(parameter), Some(wanted)) = (&aggregate.parameter, aggregate.op.parameter()) {
        expect(parameter, wanted, name)?;
    }
    Ok(())
}

fn check_call(function: &Function, args: &[Expr], span: Span) -> Result<(), Fault> {
    let (least, most) = (function.args.len() - function.optional, function.args.len());
    let enough = args.len() >= least && (function.repeats || args.len() <= most);
    if !enough {
        let wanted = match (function.repeats, least == most) {
            (true, _) => format!("at least {least}"),
            (false, true) => format!("{least}"),
            (false, false) => format!("{least} to {most}"),
        };
        return Err((span, format!("{} takes {wanted} argument(s), found {}", function.name, args.len())));
    }
    for (number, arg) in args.iter().enumerate() {
        let Some(wanted) = function.args.get(number).or(function.args.last()) else { break };
        expect(arg, *wanted, function.name)?;
    }
    Ok(())
}

fn expect(arg: &Expr, wanted: Type, whose: &str) -> Result<(), Fault> {
    let found = arg.kind_type();
    if found == wanted {
        return Ok(());
    }
    let hint = match (wanted, found) {
        (Type::Matrix, Type::Vector) => "; a range makes one, such as [5m]",
        (Type::Vector, Type::Matrix) => "; rate() or avg_over_time() make one of it, for example",
        _ => "",
    };
    Err((
        arg.span,
        format!("{whose} needs a {wanted} here, not a {found}{hint}").replace("a instant", "an instant"),
    ))
}
