//! The rows of the op table as builtin functions and methods, made when the module is imported.

use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};

use esker::autograd::dispatch;
use esker::ops::MapOp;
use esker::ops::signature::{Attr, AttrKind, Outputs, Param, ParamKind, Signature};
use esker::{DType, Tensor};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyString, PyTuple, PyType};
use smallvec::{SmallVec, smallvec};

use crate::args::{Operand, attr, integer, needed, operand, settle, takes};
use crate::construct::default_dtype;
use crate::error::{Raise, type_error};
use crate::numbers::apply;
use crate::rows;
use crate::tensor::{PyTensor, cast, wrap, wrap_all};

/// The most arguments of a row.
const MOST: usize = 24;
/// The most rows.
const ROWS: usize = 512;
/// Elements from which other Python threads may run meanwhile; below, giving the interpreter up costs more than the op.
const LARGE: usize = 4096;

/// A row as Python calls it.
pub(crate) struct Binding {
    pub(crate) sig: &'static Signature,
    names: Vec<Py<PyString>>,
    /// The places of positional arguments of the function, and of the method.
    orders: [Vec<u8>; 2],
    /// The positions in each whose list may be written out.
    spread: [Vec<u8>; 2],
    /// A bit for each tensor whose dtype plain numbers take: masks and places do not count.
    weak: u64,
    /// Takes a `dtype` that the input is cast to first.
    casts: bool,
    /// Makes a new tensor, which may be a leaf.
    makes: bool,
    /// The results are values and indices, with these names.
    named: bool,
}

/// How a row is called.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Function,
    Method,
    InPlace,
}

static BINDINGS: PyOnceLock<Vec<Binding>> = PyOnceLock::new();

type Object<'a, 'py> = Borrowed<'a, 'py, PyAny>;

impl Binding {
    fn new(py: Python<'_>, sig: &'static Signature) -> Self {
        let names = sig.params.iter().map(|p| PyString::intern(py, p.name).unbind()).collect();
        let given = |i: &&usize| sig.params[**i].kind != ParamKind::Attr(AttrKind::Key);
        let function: Vec<usize> = sig.order.iter().filter(given).copied().collect();
        let method: Vec<usize> = function.iter().copied().filter(|&i| i != 0).collect();
        let spread =
            |order: &[usize]| (0..order.len()).filter(|&i| rows::spreads(sig, order, i)).map(|i| i as u8).collect();
        let small = |order: &[usize]| order.iter().map(|&i| i as u8).collect();
        let counts = |(i, p): (usize, &Param)| u64::from(!rows::NO_DTYPE_FOR_NUMBERS.contains(&p.name)) << i.min(63);
        Self {
            sig,
            names,
            orders: [small(&function), small(&method)],
            spread: [spread(&function), spread(&method)],
            weak: sig.params.iter().enumerate().map(counts).sum(),
            casts: rows::TAKES_DTYPE.contains(&sig.name),
            makes: sig.params.iter().any(|p| p.name == "dtype"),
            named: rows::VALUES_AND_INDICES.contains(&sig.name),
        }
    }

    fn error(&self, sentence: String) -> PyErr {
        type_error(format!("{}: {sentence}", self.sig.name))
    }

    fn place_of(&self, py: Python<'_>, keyword: Object<'_, '_>) -> PyResult<Option<usize>> {
        if let Some(i) = self.names.iter().position(|n| n.as_ptr() == keyword.as_ptr()) {
            return Ok(Some(i));
        }
        let keyword = keyword.cast::<PyString>()?;
        let keyword = keyword.to_cow()?;
        let known = |name: &str| self.names.iter().position(|n| n.bind(py).to_cow().is_ok_and(|n| n == name));
        Ok(known(&keyword).or_else(|| {
            let (_, name) = rows::KEYWORDS.iter().find(|(alias, _)| *alias == keyword)?;
            known(name)
        }))
    }
}

/// What a call was given: an object for each argument, and the rest of a list that was written out.
struct Given<'a, 'py> {
    places: [Option<Object<'a, 'py>>; MOST],
    /// The place whose list was written out as several arguments, and these.
    spread: Option<(usize, SmallVec<[Object<'a, 'py>; 8]>)>,
    dtype: Option<Object<'a, 'py>>,
    /// What `add` and `sub` multiply their second input by.
    alpha: Option<Object<'a, 'py>>,
    /// Where a row that follows its input's place puts its result.
    device: Option<Object<'a, 'py>>,
    requires_grad: bool,
}

impl<'a, 'py> Given<'a, 'py> {
    /// Puts arguments in their places.
    fn new(
        b: &Binding,
        way: Way,
        slf: Option<Object<'a, 'py>>,
        args: &[Object<'a, 'py>],
        keywords: Option<(Borrowed<'_, 'py, PyTuple>, &[Object<'a, 'py>])>,
    ) -> PyResult<Self> {
        let mut given =
            Self { places: [None; MOST], spread: None, dtype: None, alpha: None, device: None, requires_grad: false };
        given.places[0] = slf;
        let order = &b.orders[usize::from(way != Way::Function)];
        for (i, arg) in args.iter().enumerate() {
            let Some(&place) = order.get(i) else {
                return Err(b.error(format!("takes at most {} arguments here, got {}", order.len(), args.len())));
            };
            let place = usize::from(place);
            if given.spreads(b, way, i, &args[i..])? {
                given.spread = Some((place, args[i..].iter().copied().collect()));
                break;
            }
            given.places[place] = Some(*arg);
        }
        if let Some((names, values)) = keywords {
            for (name, value) in names.iter_borrowed().zip(values) {
                given.keyword(b, name, *value)?;
            }
        }
        Ok(given)
    }

    /// Whether the arguments from the `i`-th on are the items of one list: `x.reshape(2, 3)`, `einsum(text, a, b)`.
    fn spreads(&self, b: &Binding, way: Way, i: usize, rest: &[Object<'a, 'py>]) -> PyResult<bool> {
        let order = &b.orders[usize::from(way != Way::Function)];
        let kind = |i: usize| order.get(i).map(|&p| b.sig.params[usize::from(p)].kind);
        let Some(first) = rest.first() else { return Ok(false) };
        match kind(i) {
            Some(ParamKind::Tensors) => {
                Ok(rows::TENSORS_WRITTEN_OUT.contains(&b.sig.name) && first.is_instance_of::<PyTensor>())
            }
            Some(ParamKind::Attr(_))
                if rest.len() > 1 && b.spread[usize::from(way != Way::Function)].contains(&(i as u8)) =>
            {
                rest.iter().try_fold(true, |all, o| Ok(all && integer(o)?.is_some()))
            }
            _ => Ok(false),
        }
    }

    fn keyword(&mut self, b: &Binding, name: Object<'_, 'py>, value: Object<'a, 'py>) -> PyResult<()> {
        if let Some(place) = b.place_of(name.py(), name)? {
            let spread = self.spread.as_ref().is_some_and(|(p, _)| *p == place);
            if self.places[place].is_some() || spread {
                return Err(b.error(format!("{} was given twice", b.sig.params[place].name)));
            }
            self.places[place] = Some(value);
            return Ok(());
        }
        match &*name.cast::<PyString>()?.to_cow()? {
            "dtype" if b.casts => self.dtype = (!value.is_none()).then_some(value),
            "alpha" if rows::TAKES_ALPHA.contains(&b.sig.name) => self.alpha = Some(value),
            "device" if b.makes => self.device = (!value.is_none()).then_some(value),
            "requires_grad" if b.makes => self.requires_grad = value.is_truthy()?,
            other if rows::IGNORED_WHEN_NONE.contains(&other) && value.is_none() => {}
            other => {
                let names: Vec<&str> = b.orders[0].iter().map(|&i| b.sig.params[usize::from(i)].name).collect();
                return Err(b.error(format!("there is no argument {other}; the arguments are {}", names.join(", "))));
            }
        }
        Ok(())
    }

    /// The tensors, with a bit for each that is there.
    fn tensors(&self, b: &Binding) -> PyResult<(SmallVec<[Tensor; 4]>, u64)> {
        let mut operands: SmallVec<[Operand; 4]> = SmallVec::new();
        let (mut mask, mut weak) = (0, 0);
        for (i, p) in b.sig.params.iter().enumerate() {
            match (p.kind, self.places[i]) {
                (ParamKind::Attr(_), _) => break,
                (ParamKind::Tensors, given) => {
                    let items = self.list(b, i, given)?;
                    return Ok((items, u64::MAX));
                }
                (ParamKind::OptionalTensor, None) => {}
                (ParamKind::OptionalTensor, Some(o)) if o.is_none() => {}
                (ParamKind::Tensor, None) => return Err(b.error(format!("the argument {} is missing", p.name))),
                (_, Some(o)) => {
                    let Some(x) = operand(&o)? else { return Err(self.wrong(b, p.name, "a tensor", &o)) };
                    let counts = b.weak >> i & 1;
                    weak |= counts << operands.len();
                    operands.push(if counts == 0 { place(x)? } else { x });
                    mask |= 1 << i;
                }
            }
        }
        Ok((settle(operands, weak)?, mask))
    }

    fn list(&self, b: &Binding, i: usize, given: Option<Object<'a, 'py>>) -> PyResult<SmallVec<[Tensor; 4]>> {
        let name = b.sig.params[i].name;
        let one = |o: &Bound<'py, PyAny>| match o.cast::<PyTensor>() {
            Ok(t) => Ok(t.get().get()),
            Err(_) => Err(self.wrong(b, name, "tensors", o)),
        };
        if let Some((place, items)) = &self.spread
            && *place == i
        {
            if let [only] = items[..]
                && !only.is_instance_of::<PyTensor>()
            {
                return only.try_iter()?.map(|o| one(&o?)).collect();
            }
            return items.iter().map(|o| one(o)).collect();
        }
        match given {
            None => Err(b.error(format!("the argument {name} is missing"))),
            Some(o) if o.is_instance_of::<PyTuple>() || o.is_instance_of::<PyList>() => {
                o.try_iter()?.map(|o| one(&o?)).collect()
            }
            Some(o) => Err(self.wrong(b, name, "a list of tensors", &o)),
        }
    }

    #[cold]
    fn wrong(&self, b: &Binding, name: &str, needed: &str, obj: &Bound<'_, PyAny>) -> PyErr {
        takes(&format!("{}: {name}", b.sig.name), needed, obj)
    }

    /// The attributes, in the row's order.
    fn attrs(&self, b: &Binding) -> PyResult<Vec<Attr>> {
        let mut attrs = Vec::new();
        for (i, p) in b.sig.params.iter().enumerate() {
            let ParamKind::Attr(kind) = p.kind else { continue };
            if let Some((place, items)) = &self.spread
                && *place == i
            {
                let ints = items.iter().map(|o| Ok(integer(o)?.unwrap_or_default())).collect::<PyResult<_>>()?;
                attrs.push(Attr::Ints(ints));
                continue;
            }
            let given = self.places[i].filter(|o| !(o.is_none() && (p.default.is_some() || kind == AttrKind::Key)));
            attrs.push(match (given, &p.default) {
                (Some(o), _) => match attr(kind, &o)? {
                    Some(attr) => attr,
                    None => return Err(self.wrong(b, p.name, needed(kind), &o)),
                },
                (None, Some(default)) => default_of(b, default),
                (None, None) if kind == AttrKind::Key => Attr::None,
                (None, None) => return Err(b.error(format!("the argument {} is missing", p.name))),
            });
        }
        Ok(attrs)
    }
}

/// The pair with its names.
fn named(py: Python<'_>, pair: &Py<PyTuple>) -> PyResult<Py<PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASS.get_or_try_init(py, || {
        let make = py.import("collections")?.getattr("namedtuple")?;
        let class = make.call1(("ValuesAndIndices", ("values", "indices")))?;
        class.setattr("__module__", "esker")?;
        Ok::<_, PyErr>(class.unbind())
    })?;
    class.call1(py, pair.bind(py))
}

/// A default: the key of the random generator is drawn anew, and what makes a tensor follows the default dtype.
fn default_of(b: &Binding, default: &Attr) -> Attr {
    match default {
        Attr::Key(_) => Attr::None,
        Attr::DType(DType::F32) if b.makes => Attr::DType(default_dtype()),
        default => default.clone(),
    }
}

/// Places as int64, which smaller integers may stand for.
fn place(x: Operand) -> PyResult<Operand> {
    match x {
        Operand::Tensor(t) if matches!(t.dtype(), DType::U8 | DType::I8 | DType::I16 | DType::I32) => {
            cast(&t, DType::I64).map(Operand::Tensor).py()
        }
        x => Ok(x),
    }
}

/// Calls a row.
fn call<'py>(
    py: Python<'py>,
    b: &Binding,
    way: Way,
    slf: Option<Object<'_, 'py>>,
    args: &[Object<'_, 'py>],
    keywords: Option<(Borrowed<'_, 'py, PyTuple>, &[Object<'_, 'py>])>,
) -> PyResult<Py<PyAny>> {
    let given = Given::new(b, way, slf, args, keywords)?;
    let (mut x, mask) = given.tensors(b)?;
    if let (Some(dtype), Some(first)) = (given.dtype, x.first_mut()) {
        *first = cast(first, crate::dtype::to_dtype(&dtype)?).py()?;
    }
    if let (Some(alpha), Some(last)) = (given.alpha, x.last_mut()) {
        let factor = operand(&alpha)?.ok_or_else(|| takes(&format!("{}: alpha", b.sig.name), "a number", &alpha))?;
        let pair = settle(smallvec![Operand::Tensor(last.clone()), factor], u64::MAX)?;
        *last = apply(py, MapOp::Mul.into(), &[&pair[0], &pair[1]])?;
    }
    let op = b.sig.op(given.attrs(b)?, mask).py()?;
    let refs: SmallVec<[&Tensor; 4]> = x.iter().collect();
    let large = refs.iter().map(|t| t.numel()).sum::<usize>() >= LARGE || refs.is_empty();
    let outs = if large { py.detach(|| dispatch(op, &refs)) } else { dispatch(op, &refs) }.py()?;
    if way == Way::InPlace {
        let Some(slf) = slf else { return Err(b.error("a method was called without its tensor".into())) };
        let target = slf.cast::<PyTensor>()?;
        let new = outs.into_iter().next().ok_or_else(|| b.error("gave nothing".into()))?;
        target.get().assign(&format!("{}_", b.sig.name), new)?;
        return Ok(slf.to_owned().unbind());
    }
    let single = b.sig.outputs == Outputs::Count(1);
    match (single, outs.len()) {
        (true, 1) => {
            let mut made = outs.into_iter().next().ok_or_else(|| b.error("gave nothing".into()))?;
            if let Some(device) = given.device {
                made = made.to_device(crate::dtype::to_device(&device)?).py()?;
            }
            let made = wrap(py, made)?;
            if given.requires_grad {
                made.bind(py).call_method1("requires_grad_", (true,))?;
            }
            Ok(made.into_any())
        }
        _ => {
            let all = wrap_all(py, outs)?;
            if b.named { named(py, &all) } else { Ok(all.into_any()) }
        }
    }
}

// ---- trampolines

/// What the interpreter calls: finds the binding, and turns errors and panics into exceptions.
///
/// # Safety
/// As CPython promises for `METH_FASTCALL | METH_KEYWORDS`: `args` has `nargs` objects and one for each name in `kwnames`,
/// which is a tuple of texts or null; all live during the call, and the GIL is held.
unsafe fn enter(
    index: usize,
    way: Way,
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: ffi::Py_ssize_t,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    Python::attach(|py| {
        let run = || {
            let bindings = BINDINGS.get(py).ok_or_else(|| PyRuntimeError::new_err("esker is not initialised"))?;
            let b = bindings.get(index).ok_or_else(|| PyRuntimeError::new_err("no such row"))?;
            let nargs = nargs.max(0) as usize;
            // SAFETY: `kwnames` is null or a live tuple.
            let names = unsafe { Borrowed::from_ptr_or_opt(py, kwnames) };
            let names = names.map(|n| n.cast::<PyTuple>()).transpose()?;
            let count = nargs + names.map_or(0, |n| n.len());
            // SAFETY: the caller promises `count` live objects.
            let object = |i: usize| unsafe { Borrowed::from_ptr(py, *args.add(i)) };
            let objects: SmallVec<[Object<'_, '_>; 8]> = (0..count).map(object).collect();
            let (positional, named) = objects.split_at(nargs);
            // SAFETY: `slf` is a live object.
            let slf = if way == Way::Function { None } else { unsafe { Borrowed::from_ptr_or_opt(py, slf) } };
            call(py, b, way, slf, positional, names.map(|n| (n, named)))
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(object)) => object.into_ptr(),
            Ok(Err(error)) => {
                error.restore(py);
                std::ptr::null_mut()
            }
            Err(_) => {
                PyRuntimeError::new_err("Esker met an inner contradiction; please report this").restore(py);
                std::ptr::null_mut()
            }
        }
    })
}

macro_rules! trampoline {
    ($name:ident, $way:expr) => {
        unsafe extern "C" fn $name<const I: usize>(
            slf: *mut ffi::PyObject,
            args: *const *mut ffi::PyObject,
            nargs: ffi::Py_ssize_t,
            kwnames: *mut ffi::PyObject,
        ) -> *mut ffi::PyObject {
            // SAFETY: CPython calls with what `enter` asks for.
            unsafe { enter(I, $way, slf, args, nargs, kwnames) }
        }
    };
}

trampoline!(function, Way::Function);
trampoline!(method, Way::Method);
trampoline!(in_place, Way::InPlace);

macro_rules! eight {
    ($f:ident, $at:expr) => {
        [
            $f::<{ $at }>,
            $f::<{ $at + 1 }>,
            $f::<{ $at + 2 }>,
            $f::<{ $at + 3 }>,
            $f::<{ $at + 4 }>,
            $f::<{ $at + 5 }>,
            $f::<{ $at + 6 }>,
            $f::<{ $at + 7 }>,
        ]
    };
}

macro_rules! sixty_four {
    ($f:ident, $at:expr) => {
        [
            eight!($f, $at),
            eight!($f, $at + 8),
            eight!($f, $at + 16),
            eight!($f, $at + 24),
            eight!($f, $at + 32),
            eight!($f, $at + 40),
            eight!($f, $at + 48),
            eight!($f, $at + 56),
        ]
    };
}

/// One function for each row, since a C function cannot know by which name it was called.
macro_rules! stamped {
    ($f:ident) => {{
        static ALL: [[[ffi::PyCFunctionFastWithKeywords; 8]; 8]; 8] = [
            sixty_four!($f, 0),
            sixty_four!($f, 64),
            sixty_four!($f, 128),
            sixty_four!($f, 192),
            sixty_four!($f, 256),
            sixty_four!($f, 320),
            sixty_four!($f, 384),
            sixty_four!($f, 448),
        ];
        ALL.as_flattened().as_flattened()
    }};
}

fn stamped(way: Way) -> &'static [ffi::PyCFunctionFastWithKeywords] {
    match way {
        Way::Function => stamped!(function),
        Way::Method => stamped!(method),
        Way::InPlace => stamped!(in_place),
    }
}

// ---- making the builtins

/// Adds every public row to the module, and to `Tensor` where its first argument is a tensor.
pub(crate) fn add(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    let sigs: Vec<&'static Signature> = esker::ops::table::signatures().iter().filter(|s| s.public).collect();
    if sigs.len() > ROWS || sigs.iter().any(|s| s.params.len() > MOST) {
        return Err(PyRuntimeError::new_err(format!("more than {ROWS} rows, or {MOST} arguments of one")));
    }
    let bindings = sigs.iter().map(|s| Binding::new(py, s)).collect();
    let _ = BINDINGS.set(py, bindings);
    let class = py.get_type::<PyTensor>();
    let table = PyList::empty(py);
    for (i, sig) in sigs.iter().enumerate() {
        let f = builtin(py, i, sig, Way::Function, m, &class)?;
        m.add(sig.name, f)?;
        table.append(sig.name)?;
        if !matches!(sig.params.first().map(|p| p.kind), Some(ParamKind::Tensor)) {
            continue;
        }
        class.setattr(sig.name, builtin(py, i, sig, Way::Method, m, &class)?)?;
        if rows::has_in_place(sig) {
            class.setattr(format!("{}_", sig.name), builtin(py, i, sig, Way::InPlace, m, &class)?)?;
        }
    }
    m.add("_table", table)
}

fn builtin<'py>(
    py: Python<'py>,
    index: usize,
    sig: &'static Signature,
    way: Way,
    m: &Bound<'py, PyModule>,
    class: &Bound<'py, PyType>,
) -> PyResult<Bound<'py, PyAny>> {
    let name = if way == Way::InPlace { format!("{}_", sig.name) } else { sig.name.to_owned() };
    let doc = format!("{}{}\n--\n\n{}", name, rows::text_signature(sig, way != Way::Function), sig.doc);
    let text = |s: String| CString::new(s).map(CString::into_raw).map_err(|e| type_error(e.to_string()));
    // Builtins refer to their definition for as long as the interpreter runs.
    let def = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: text(name)?,
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: stamped(way)[index] },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: text(doc)?,
    }));
    let object = match way {
        // SAFETY: the definition lives forever and its flags are those of its function; the module is a live object.
        Way::Function => unsafe { ffi::PyCFunction_NewEx(def, std::ptr::null_mut(), m.name()?.as_ptr()) },
        // SAFETY: as above, and the class is a live type.
        _ => unsafe { ffi::PyDescr_NewMethod(class.as_type_ptr(), def) },
    };
    // SAFETY: both return a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, object) }
}
