//! Expressions as scalars: running a body on them writes the body down as a program of primitives.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::{Dual, Num, Scalar};
use crate::{ElemFn, F64Bits};

/// A primitive of the vocabulary.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)] // Named after the methods of `Num` and `Scalar`.
pub enum Prim {
    /// The n-th input of the body.
    Input(u8),
    /// A constant.
    Const(F64Bits),
    Add,
    Sub,
    Mul,
    Div,
    Neg,
    MulAdd,
    Abs,
    FloorDiv,
    Remainder,
    Square,
    Sqrt,
    Exp,
    Expm1,
    Log,
    Log1p,
    Sin,
    Cos,
    Tanh,
    Erf,
    Sigmoid,
    Floor,
    Atan2,
    Pow,
    Lt,
    Le,
    Eq,
    /// `(mask, a, b)`.
    Select,
}

/// One line of a program: a primitive and the lines it reads (unused places repeat the first).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Step {
    /// What is computed.
    pub prim: Prim,
    /// From which earlier lines.
    pub args: [u32; 3],
}

/// An elementwise body written down: steps in order, no dead ones, each distinct; the last is the result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// The lines.
    pub steps: Vec<Step>,
}

#[derive(Default)]
struct Arena {
    steps: Vec<Step>,
    known: HashMap<Step, u32>,
}

thread_local! {
    static ARENA: RefCell<Arena> = RefCell::new(Arena::default());
}

/// A node of the thread's expression arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expr(u32);

fn push(prim: Prim, args: &[Expr]) -> Expr {
    let first = args.first().map_or(0, |e| e.0);
    let step = Step { prim, args: std::array::from_fn(|i| args.get(i).map_or(first, |e| e.0)) };
    ARENA.with_borrow_mut(|arena| {
        let next = arena.steps.len() as u32;
        let id = *arena.known.entry(step).or_insert(next);
        if id == next {
            arena.steps.push(step);
        }
        Expr(id)
    })
}

impl Program {
    /// The body of `F`.
    pub fn value<F: ElemFn>() -> Program {
        record(|| F::f([0, 1, 2].map(|i| push(Prim::Input(i), &[]))))
    }

    /// The derivative of `F` by input `wrt`, times the incoming gradient, which is input number [`ElemFn::ARITY`].
    /// `None` when it is zero everywhere.
    pub fn grad<F: ElemFn>(wrt: usize) -> Option<Program> {
        let mut zero = false;
        let program = record(|| {
            let x: [Dual<Expr>; 3] = std::array::from_fn(|i| Dual {
                v: push(Prim::Input(i as u8), &[]),
                d: (i == wrt).then(|| push(Prim::Input(F::ARITY as u8), &[])),
            });
            F::f(x).d.unwrap_or_else(|| {
                zero = true;
                Expr::c(0.0)
            })
        });
        (!zero).then_some(program)
    }

    /// Which inputs the program reads, as a bit mask.
    pub fn reads(&self) -> u8 {
        self.steps.iter().fold(0, |mask, s| if let Prim::Input(i) = s.prim { mask | 1 << i } else { mask })
    }
}

/// Runs `body` in a fresh arena and keeps the lines that its result needs.
fn record(body: impl FnOnce() -> Expr) -> Program {
    let saved = ARENA.take();
    let result = body();
    let all = ARENA.replace(saved).steps;
    let mut used = vec![false; all.len()];
    used[result.0 as usize] = true;
    for i in (0..=result.0 as usize).rev() {
        if used[i] {
            all[i].prim.args().iter().for_each(|&a| used[all[i].args[a] as usize] = true);
        }
    }
    let mut place = vec![0u32; all.len()];
    let mut steps = Vec::new();
    for (i, step) in all.iter().enumerate().take(result.0 as usize + 1).filter(|&(i, _)| used[i]) {
        place[i] = steps.len() as u32;
        let args = if step.prim.args().is_empty() { [0; 3] } else { step.args.map(|a| place[a as usize]) };
        steps.push(Step { prim: step.prim, args });
    }
    Program { steps }
}

impl Prim {
    /// The places of `Step::args` that the primitive reads.
    pub fn args(self) -> &'static [usize] {
        match self {
            Prim::Input(_) | Prim::Const(_) => &[],
            Prim::Add | Prim::Sub | Prim::Mul | Prim::Div | Prim::FloorDiv | Prim::Remainder => &[0, 1],
            Prim::Atan2 | Prim::Pow => &[0, 1],
            Prim::Lt | Prim::Le | Prim::Eq => &[0, 1],
            Prim::MulAdd | Prim::Select => &[0, 1, 2],
            _ => &[0],
        }
    }
}

macro_rules! binary {
    ($($trait:ident $method:ident $prim:ident;)*) => {$(
        impl $trait for Expr {
            type Output = Expr;
            fn $method(self, o: Expr) -> Expr { push(Prim::$prim, &[self, o]) }
        }
        impl $trait<f64> for Expr {
            type Output = Expr;
            fn $method(self, o: f64) -> Expr { push(Prim::$prim, &[self, Expr::c(o)]) }
        }
    )*};
}

binary! { Add add Add; Sub sub Sub; Mul mul Mul; Div div Div; }

impl Neg for Expr {
    type Output = Expr;
    fn neg(self) -> Expr {
        push(Prim::Neg, &[self])
    }
}

macro_rules! unary {
    ($($method:ident $prim:ident;)*) => {$(
        fn $method(self) -> Expr { push(Prim::$prim, &[self]) }
    )*};
}

impl Num for Expr {
    type Mask = Expr;
    fn c(v: f64) -> Expr {
        push(Prim::Const(F64Bits::new(v)), &[])
    }
    fn lt(self, o: Expr) -> Expr {
        push(Prim::Lt, &[self, o])
    }
    fn le(self, o: Expr) -> Expr {
        push(Prim::Le, &[self, o])
    }
    fn eq(self, o: Expr) -> Expr {
        push(Prim::Eq, &[self, o])
    }
    fn select(m: Expr, a: Expr, b: Expr) -> Expr {
        push(Prim::Select, &[m, a, b])
    }
    fn floor_div(self, o: Expr) -> Expr {
        push(Prim::FloorDiv, &[self, o])
    }
    fn remainder(self, o: Expr) -> Expr {
        push(Prim::Remainder, &[self, o])
    }
    unary! { abs Abs; square Square; }
}

impl Scalar for Expr {
    fn mul_add(self, a: Expr, b: Expr) -> Expr {
        push(Prim::MulAdd, &[self, a, b])
    }
    fn atan2(self, x: Expr) -> Expr {
        push(Prim::Atan2, &[self, x])
    }
    fn pow(self, y: Expr) -> Expr {
        push(Prim::Pow, &[self, y])
    }
    unary! {
        sqrt Sqrt; exp Exp; expm1 Expm1; log Log; log1p Log1p; sin Sin; cos Cos; tanh Tanh; erf Erf;
        sigmoid Sigmoid; floor Floor;
    }
}
