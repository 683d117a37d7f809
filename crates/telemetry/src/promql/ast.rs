//! What an expression means, as a tree.

use super::functions::Function;
use super::lex::Span;
use crate::model::Matcher;

/// What an expression evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Scalar,
    String,
    /// An instant vector: series with one value each.
    Vector,
    /// A range vector: series with several samples each.
    Matrix,
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Type::Scalar => "scalar",
            Type::String => "string",
            Type::Vector => "instant vector",
            Type::Matrix => "range vector",
        })
    }
}

/// A node of the tree.
#[derive(Clone, Debug)]
pub struct Expr {
    pub kind: Kind,
    pub span: Span,
    /// How many nodes stand above each other from here down, this one included.
    pub depth: usize,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Number(f64),
    Text(String),
    Vector(Selector),
    Matrix { selector: Selector, range_ms: i64 },
    Subquery { inner: Box<Expr>, range_ms: i64, step_ms: Option<i64>, moment: Moment },
    Paren(Box<Expr>),
    Unary { negative: bool, inner: Box<Expr> },
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call { function: &'static Function, args: Vec<Expr> },
}

/// Which moment is looked at, when it is not that of the query.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    pub at: Option<At>,
    /// So much earlier; negative: later.
    pub offset_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    Ms(i64),
    /// Where the query begins.
    Start,
    End,
}

/// Which series are meant.
#[derive(Clone, Debug)]
pub struct Selector {
    /// The metric's name where it stands before the braces.
    pub name: Option<String>,
    /// What stands in the braces.
    pub conditions: Vec<Condition>,
    /// Both, as a source reads them.
    pub matchers: Vec<Matcher>,
    pub moment: Moment,
}

/// `label="value"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub label: String,
    /// `=`, `!=`, `=~` or `!~`.
    pub op: &'static str,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    /// As it is written, and how strongly it binds: more binds first.
    pub const ALL: [(&str, BinaryOp, u8); 16] = [
        ("or", BinaryOp::Or, 1),
        ("and", BinaryOp::And, 2),
        ("unless", BinaryOp::Unless, 2),
        ("==", BinaryOp::Equal, 3),
        ("!=", BinaryOp::NotEqual, 3),
        ("<", BinaryOp::Less, 3),
        ("<=", BinaryOp::LessEqual, 3),
        (">", BinaryOp::Greater, 3),
        (">=", BinaryOp::GreaterEqual, 3),
        ("+", BinaryOp::Add, 4),
        ("-", BinaryOp::Sub, 4),
        ("*", BinaryOp::Mul, 5),
        ("/", BinaryOp::Div, 5),
        ("%", BinaryOp::Mod, 5),
        ("atan2", BinaryOp::Atan2, 5),
        ("^", BinaryOp::Pow, 6),
    ];

    pub fn text(self) -> &'static str {
        Self::ALL.iter().find(|(_, op, _)| *op == self).map_or("", |(text, _, _)| text)
    }

    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual
        )
    }

    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

#[derive(Clone, Debug)]
pub struct Binary {
    pub op: BinaryOp,
    pub left: Expr,
    pub right: Expr,
    /// A comparison gives 0 or 1 instead of filtering.
    pub bool: bool,
    pub matching: Option<Matching>,
}

/// How the elements of two vectors find each other.
#[derive(Clone, Debug, Default)]
pub struct Matching {
    /// `on`: by these labels only; otherwise `ignoring`: by all but these.
    pub on: bool,
    pub labels: Vec<String>,
    pub group: Group,
    /// Labels that the many take from the one.
    pub include: Vec<String>,
}

/// On which side many may match one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    #[default]
    None,
    Left,
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateOp {
    Sum,
    Min,
    Max,
    Avg,
    Group,
    Stddev,
    Stdvar,
    Count,
    CountValues,
    Bottomk,
    Topk,
    Quantile,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    pub const ALL: [(&str, AggregateOp); 14] = [
        ("sum", AggregateOp::Sum),
        ("min", AggregateOp::Min),
        ("max", AggregateOp::Max),
        ("avg", AggregateOp::Avg),
        ("group", AggregateOp::Group),
        ("stddev", AggregateOp::Stddev),
        ("stdvar", AggregateOp::Stdvar),
        ("count", AggregateOp::Count),
        ("count_values", AggregateOp::CountValues),
        ("bottomk", AggregateOp::Bottomk),
        ("topk", AggregateOp::Topk),
        ("quantile", AggregateOp::Quantile),
        ("limitk", AggregateOp::Limitk),
        ("limit_ratio", AggregateOp::LimitRatio),
    ];

    pub fn text(self) -> &'static str {
        Self::ALL.iter().find(|(_, op)| *op == self).map_or("", |(text, _)| text)
    }

    /// What stands before the vector, if anything.
    pub fn parameter(self) -> Option<Type> {
        match self {
            Self::Bottomk | Self::Topk | Self::Quantile | Self::Limitk | Self::LimitRatio => {
                Some(Type::Scalar)
            }
            Self::CountValues => Some(Type::String),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Aggregate {
    pub op: AggregateOp,
    pub parameter: Option<Expr>,
    pub inner: Expr,
    /// `without`: by all labels but these; otherwise `by`: by these only.
    pub without: bool,
    pub labels: Vec<String>,
}

impl Expr {
    /// What it evaluates to.
    pub fn kind_type(&self) -> Type {
        match &self.kind {
            Kind::Number(_) => Type::Scalar,
            Kind::Text(_) => Type::String,
            Kind::Vector(_) | Kind::Aggregate(_) => Type::Vector,
            Kind::Matrix { .. } | Kind::Subquery { .. } => Type::Matrix,
            Kind::Paren(inner) | Kind::Unary { inner, .. } => inner.kind_type(),
            Kind::Binary(binary) => match (binary.left.kind_type(), binary.right.kind_type()) {
                (Type::Scalar, Type::Scalar) => Type::Scalar,
                _ => Type::Vector,
            },
            Kind::Call { function, .. } => function.returns,
        }
    }

    /// The expression inside of any parentheses.
    pub fn unwrapped(&self) -> &Expr {
        let mut expr = self;
        while let Kind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    /// What stands right below it.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            Kind::Number(_) | Kind::Text(_) | Kind::Vector(_) | Kind::Matrix { .. } => Vec::new(),
            Kind::Subquery { inner, .. } | Kind::Paren(inner) | Kind::Unary { inner, .. } => vec![inner],
            Kind::Binary(binary) => vec![&binary.left, &binary.right],
            Kind::Aggregate(aggregate) => aggregate.parameter.iter().chain([&aggregate.inner]).collect(),
            Kind::Call { args, .. } => args.iter().collect(),
        }
    }
}
