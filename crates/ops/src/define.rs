//! What the rows of the table become: enums, structs, methods, samples, signatures.

macro_rules! define_maps {
    ($($(#[doc = $doc:literal])* $Name:ident $method:ident $kind:ident ($($x:ident),+);)*) => {
        /// The elementwise ops.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum MapOp { $($(#[doc = $doc])* $Name,)* }

        impl MapOp {
            /// Every elementwise op, in table order.
            pub const ALL: &'static [MapOp] = &[$(MapOp::$Name),*];

            /// Calls the visitor with the op's function.
            pub fn visit<V: MapVisitor>(self, v: V) -> V::Out {
                match self { $(MapOp::$Name => v.visit::<elementwise::$Name>(),)* }
            }
        }

        #[cfg(feature = "spec")]
        impl MapOp {
            /// The op's reference and samples.
            pub(crate) fn spec(self) -> crate::spec::MapSpec {
                match self { $(MapOp::$Name => crate::spec::MapSpec::of::<elementwise::$Name>(),)* }
            }
        }

        const MAP_DOCS: &[&str] = &[$(concat!($($doc),*)),*];

        #[cfg(feature = "spec")]
        fn map_rows() -> Vec<crate::spec::Row> {
            let docs = MapOp::ALL.iter().zip(MAP_DOCS);
            docs.map(|(&op, doc)| crate::spec::Row { name: op.name(), doc, samples: op.spec().samples(op) }).collect()
        }

        fn map_signatures() -> Vec<Signature> {
            let params: &[&[&'static str]] = &[$(&[$(stringify!($x)),+]),*];
            let op: &[crate::signature::Build] = &[$(|_| Ok(MapOp::$Name.into())),*];
            let rows = MapOp::ALL.iter().zip(MAP_DOCS).zip(params).zip(op);
            rows.map(|(((row, doc), params), op)| Signature::of_map(row.name(), doc, params, *op)).collect()
        }
    };
}

macro_rules! define_ops {
    ($($(#[doc = $doc:literal])* $Name:ident $method:ident $args:tt -> $outs:tt $(as $py:tt)?;)*) => {
        $(define_struct! { [$(#[doc = $doc])* #[derive(Copy)]] $Name $args })*

        /// An operation with its attributes: one variant for each row of the table that is not a function.
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        #[allow(missing_docs)] // Documented on the structs.
        pub enum Op { Map(MapOp), Call(Box<Call>), $($Name($Name),)* }

        impl From<MapOp> for Op {
            fn from(op: MapOp) -> Op { Op::Map(op) }
        }

        $(impl From<$Name> for Op {
            fn from(op: $Name) -> Op { Op::$Name(op) }
        })*

        macro_rules! each_op {
            ($self:expr, $op:ident => $result:expr) => {
                match $self { Op::Map($op) => $result, Op::Call($op) => $result, $(Op::$Name($op) => $result,)* }
            };
        }

        /// The rules of whichever op it is; see [`OpRule`].
        #[allow(missing_docs)]
        impl Op {
            pub fn name(&self) -> &'static str {
                each_op!(self, op => op.name())
            }
            pub fn promote(&self) -> Promote {
                each_op!(self, op => op.promote())
            }
            pub fn infer(&self, x: &[Meta]) -> Result<Metas> {
                each_op!(self, op => op.infer(x))
            }
            pub fn lower(&self, x: &[Meta]) -> Lowering {
                each_op!(self, op => op.lower(x))
            }
            pub fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
                each_op!(self, op => op.compose(x))
            }
            pub fn grad(&self) -> Grad {
                each_op!(self, op => op.grad())
            }
            pub fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
                each_op!(self, op => op.vjp(cx))
            }
            pub fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
                each_op!(self, op => op.onnx(cx))
            }
            pub fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
                each_op!(self, op => op.sizes(f))
            }
        }

        impl Op {
            /// Whether it reads values, so that it can be neither inferred nor captured.
            pub fn reads_values(&self) -> bool {
                matches!(self, Op::Call(call) if call.function().reads_values())
            }

            /// Moves the result of an op that makes one from nothing.
            pub fn place(&mut self, device: Device) {
                match self {
                    Op::Map(_) => {}
                    Op::Call(call) => call.function_mut().place(device),
                    $(Op::$Name(op) => op.place(device),)*
                }
            }
        }

        #[cfg(feature = "spec")]
        impl Op {
            /// The independent f64 reference of the op.
            pub fn reference(&self, x: &[crate::spec::RefArray]) -> Vec<crate::spec::RefArray> {
                use crate::spec::OpSpec;
                match self {
                    Op::Map(op) => vec![op.spec().reference(x)],
                    Op::Call(call) => call.function().reference(x),
                    $(Op::$Name(op) => op.reference(x),)*
                }
            }
        }

        #[cfg(feature = "spec")]
        fn op_rows() -> Vec<crate::spec::Row> {
            use crate::spec::OpSpec;
            vec![$(row!($Name, $method, [$($doc),*])),*]
        }

        fn op_signatures() -> Vec<Signature> {
            vec![$(signature!([$($doc),*] $Name $method $args $outs $($py)?)),*]
        }
    };
}

macro_rules! define_functions {
    ($($(#[doc = $doc:literal])* $Name:ident $method:ident $args:tt -> $outs:tt $(as $py:tt)?;)*) => {
        $(define_struct! { [$(#[doc = $doc])*] $Name $args })*

        /// A function with its attributes: one variant for each row of the table that is nothing but other rows.
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        #[allow(missing_docs)] // Documented on the structs.
        pub enum Function { $($Name($Name),)* }

        $(impl From<$Name> for Function {
            fn from(function: $Name) -> Function { Function::$Name(function) }
        })*

        $(impl From<$Name> for Op {
            fn from(function: $Name) -> Op { Function::$Name(function).into() }
        })*

        impl Function {
            /// The method's name.
            pub fn name(&self) -> &'static str {
                match self { $(Function::$Name(_) => stringify!($method),)* }
            }

            /// The tensors that it needs and the most that it takes; `None` for any number.
            pub fn places(&self) -> Option<(usize, usize)> {
                match self { $(Function::$Name(_) => places!($args),)* }
            }

            pub(crate) fn call<V: Value>(&self, x: &[Option<&V>]) -> Result<Outs<V>> {
                match self { $(Function::$Name(f) => f.call(x),)* }
            }

            /// Why it has no gradient, where it has none.
            pub fn no_grad(&self) -> Option<&'static str> {
                match self { $(Function::$Name(_) => $Name::NO_GRAD,)* }
            }

            /// Why it has no ONNX form, where it has none.
            pub fn no_onnx(&self) -> Option<&'static str> {
                match self { $(Function::$Name(_) => $Name::NO_ONNX,)* }
            }

            /// Whether it reads values, so that it can be neither inferred nor captured.
            pub fn reads_values(&self) -> bool {
                match self { $(Function::$Name(_) => $Name::READS,)* }
            }

            /// Whether graphs hold it whole.
            pub fn has_node(&self) -> bool {
                match self { $(Function::$Name(_) => $Name::NODE,)* }
            }

            pub(crate) fn infer(&self, x: &[Option<&Meta>]) -> Option<Result<Metas>> {
                match self { $(Function::$Name(f) => FnRule::infer(f, x),)* }
            }

            pub(crate) fn onnx(&self, cx: &OnnxCx<'_>) -> Option<Onnx> {
                match self { $(Function::$Name(f) => f.onnx(cx),)* }
            }

            pub(crate) fn place(&mut self, device: Device) {
                match self { $(Function::$Name(f) => f.place(device),)* }
            }

            #[cfg(feature = "spec")]
            pub(crate) fn reference(&self, x: &[crate::spec::RefArray]) -> Vec<crate::spec::RefArray> {
                use crate::spec::OpSpec;
                match self { $(Function::$Name(f) => f.reference(x),)* }
            }
        }

        #[cfg(feature = "spec")]
        fn function_rows() -> Vec<crate::spec::Row> {
            use crate::spec::OpSpec;
            vec![$(row!($Name, $method, [$($doc),*])),*]
        }

        fn function_signatures() -> Vec<Signature> {
            vec![$(signature!([$($doc),*] $Name $method $args $outs $($py)?)),*]
        }
    };
}

/// The struct of a row: its attributes and nothing else.
macro_rules! define_struct {
    ($docs:tt $Name:ident ($($x:ident),* $(| $($z:ident),+)? ; $($attr:ident : $T:ty $(= $default:expr)?),*)) => {
        define_struct! { @ $docs $Name $($attr: $T),* }
    };
    ($docs:tt $Name:ident [$xs:ident ; $($attr:ident : $T:ty $(= $default:expr)?),*]) => {
        define_struct! { @ $docs $Name $($attr: $T),* }
    };
    (@ [$(#[$meta:meta])*] $Name:ident $($attr:ident : $T:ty),*) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        #[allow(missing_docs)] // The attributes are the arguments of the row's method.
        pub struct $Name { $(pub $attr: $T),* }

        impl $Name {
            #[allow(unused_variables)]
            pub(crate) fn place(&mut self, device: Device) {
                $(self.$attr.place(device);)*
            }
        }
    };
}

#[cfg(feature = "spec")]
macro_rules! row {
    ($Name:ident, $method:ident, [$($doc:literal),*]) => {
        crate::spec::Row {
            name: stringify!($method),
            doc: concat!($($doc),*),
            samples: <$Name as OpSpec>::samples(),
        }
    };
}

/// The tensors that a row needs and the most that it takes.
macro_rules! places {
    (($($x:ident),* $(| $($z:ident),+)? ; $($rest:tt)*)) => {{
        let needed: &[&str] = &[$(stringify!($x)),*];
        let optional: &[&str] = &[$($(stringify!($z)),+)?];
        Some((needed.len(), needed.len() + optional.len()))
    }};
    ([$($rest:tt)*]) => { None };
}

/// What a row says of its arguments.
macro_rules! signature {
    ([$($doc:literal),*] $Name:ident $method:ident
     ($($x:ident),* $(| $($z:ident),+)? ; $($attr:ident : $T:ty $(= $default:expr)?),*) $outs:tt $($py:tt)?) => {
        Signature::new(
            (stringify!($method), concat!($($doc),*)),
            vec![
                $(Param::tensor(stringify!($x), ParamKind::Tensor),)*
                $($(Param::tensor(stringify!($z), ParamKind::OptionalTensor),)+)?
                $(attr_param!($attr, $T $(, $default)?),)*
            ],
            outputs!($outs),
            order!($($py)?),
            builder!($Name $($attr: $T),*),
        )
    };
    ([$($doc:literal),*] $Name:ident $method:ident
     [$xs:ident ; $($attr:ident : $T:ty $(= $default:expr)?),*] $outs:tt $($py:tt)?) => {
        Signature::new(
            (stringify!($method), concat!($($doc),*)),
            vec![
                Param::tensor(stringify!($xs), ParamKind::Tensors),
                $(attr_param!($attr, $T $(, $default)?),)*
            ],
            outputs!($outs),
            order!($($py)?),
            builder!($Name $($attr: $T),*),
        )
    };
}

macro_rules! attr_param {
    ($attr:ident, $T:ty) => {
        Param::attr::<$T>(stringify!($attr), None)
    };
    ($attr:ident, $T:ty, $default:expr) => {
        Param::attr::<$T>(stringify!($attr), Some(<$T>::from($default)))
    };
}

macro_rules! builder {
    ($Name:ident $($attr:ident : $T:ty),*) => {
        |_attrs| Ok($Name { $($attr: next_attr::<$T>(_attrs, stringify!($attr))?),* }.into())
    };
}

macro_rules! outputs {
    (list) => {
        Outputs::List
    };
    ($n:literal) => {
        Outputs::Count($n)
    };
}

/// The order of positional arguments, `None` for internal rows.
macro_rules! order {
    () => { Some(&[]) };
    (internal) => { None };
    (($($name:ident),*)) => { Some(&[$(stringify!($name)),*]) };
}

/// The methods of the table's rows.
macro_rules! define_methods {
    (
        maps { $($(#[$mdoc:meta])* $Map:ident $mmethod:ident $kind:ident ($x:ident $(, $y:ident)*);)* }
        ops { $($(#[$doc:meta])* $Name:ident $method:ident $args:tt -> $outs:tt $(as $py:tt)?;)* }
        $($(#[$fdoc:meta])* $Function:ident $fmethod:ident $fargs:tt -> $fouts:tt $(as $fpy:tt)?;)*
    ) => {
        /// The op table as methods, on everything that ops apply to.
        ///
        /// # Errors
        /// Every method fails with the op's name and one sentence when shapes, dtypes or devices do not fit.
        #[allow(clippy::missing_errors_doc, clippy::too_many_arguments)]
        pub trait Ops: Value {
            $(
                $(#[$mdoc])*
                #[track_caller]
                fn $mmethod(&self $(, $y: &Self)*) -> Result<Self> {
                    one(Self::apply(Op::Map(MapOp::$Map), &[self $(, $y)*])?)
                }
            )*
            $(define_method! { [$(#[$doc])*] $Name $method $args $outs })*
            $(define_function! { [$(#[$fdoc])*] $Function $fmethod $fargs $fouts })*
        }

        impl<V: Value> Ops for V {}
    };
}

macro_rules! define_method {
    ([$(#[$doc:meta])*] $Name:ident $method:ident (; $($attr:ident : $T:ty $(= $default:expr)?),*) $outs:tt) => {
        $(#[$doc])*
        #[track_caller]
        fn $method($($attr: impl Into<$T>),*) -> Result<outs!($outs)> {
            pick!($outs, Self::apply(Op::$Name($Name { $($attr: $attr.into()),* }), &[])?)
        }
    };
    ([$(#[$doc:meta])*] $Name:ident $method:ident
     ($x:ident $(, $y:ident)* ; $($attr:ident : $T:ty $(= $default:expr)?),*) $outs:tt) => {
        $(#[$doc])*
        #[track_caller]
        fn $method(&self $(, $y: &Self)* $(, $attr: impl Into<$T>)*) -> Result<outs!($outs)> {
            pick!($outs, Self::apply(Op::$Name($Name { $($attr: $attr.into()),* }), &[self $(, $y)*])?)
        }
    };
    ([$(#[$doc:meta])*] $Name:ident $method:ident
     [$xs:ident ; $($attr:ident : $T:ty $(= $default:expr)?),*] $outs:tt) => {
        $(#[$doc])*
        #[track_caller]
        fn $method($xs: &[&Self] $(, $attr: impl Into<$T>)*) -> Result<outs!($outs)> {
            pick!($outs, Self::apply(Op::$Name($Name { $($attr: $attr.into()),* }), $xs)?)
        }
    };
}

macro_rules! define_function {
    ([$(#[$doc:meta])*] $Name:ident $method:ident (; $($attr:ident : $T:ty $(= $default:expr)?),*) $outs:tt) => {
        $(#[$doc])*
        #[track_caller]
        fn $method($($attr: impl Into<$T>),*) -> Result<outs!($outs)> {
            let function = $Name { $($attr: $attr.into()),* };
            pick!($outs, crate::function::apply::<Self>(function.into(), &[])?)
        }
    };
    ([$(#[$doc:meta])*] $Name:ident $method:ident
     ($x:ident $(, $y:ident)* $(| $($z:ident),+)? ; $($attr:ident : $T:ty $(= $default:expr)?),*) $outs:tt) => {
        $(#[$doc])*
        #[track_caller]
        fn $method(
            &self $(, $y: &Self)* $($(, $z: Option<&Self>)+)? $(, $attr: impl Into<$T>)*
        ) -> Result<outs!($outs)> {
            let function = $Name { $($attr: $attr.into()),* };
            pick!($outs, crate::function::apply(function.into(), &[Some(self) $(, Some($y))* $($(, $z)+)?])?)
        }
    };
    ([$(#[$doc:meta])*] $Name:ident $method:ident
     [$xs:ident ; $($attr:ident : $T:ty $(= $default:expr)?),*] $outs:tt) => {
        $(#[$doc])*
        #[track_caller]
        fn $method($xs: &[&Self] $(, $attr: impl Into<$T>)*) -> Result<outs!($outs)> {
            let function = $Name { $($attr: $attr.into()),* };
            let given: Vec<Option<&Self>> = $xs.iter().map(|x| Some(*x)).collect();
            pick!($outs, crate::function::apply(function.into(), &given)?)
        }
    };
}

macro_rules! outs {
    (1) => { Self };
    (2) => { (Self, Self) };
    (3) => { (Self, Self, Self) };
    (list) => { Vec<Self> };
}

macro_rules! pick {
    (1, $outs:expr) => {
        one($outs)
    };
    (2, $outs:expr) => {{
        let mut o = $outs.into_iter();
        Ok((next(&mut o)?, next(&mut o)?))
    }};
    (3, $outs:expr) => {{
        let mut o = $outs.into_iter();
        Ok((next(&mut o)?, next(&mut o)?, next(&mut o)?))
    }};
    (list, $outs:expr) => {
        Ok($outs.into_vec())
    };
}
