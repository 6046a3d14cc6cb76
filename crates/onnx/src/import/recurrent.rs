//! Recurrent layers.

use esker_graph::Sym;
use esker_ops::Ops;
use esker_tensor::{Device, Error, Result};

use super::call::{Call, Handler, Item};

pub(crate) const HANDLERS: &[(&str, Handler)] = &[("LSTM", lstm), ("GRU", gru), ("RNN", rnn)];

/// The directions that a node walks in: whether each is the reverse one.
fn directions(call: &Call<'_>) -> Result<&'static [bool]> {
    match call.text("direction").as_deref() {
        None | Some("forward") => Ok(&[false]),
        Some("reverse") => Ok(&[true]),
        Some("bidirectional") => Ok(&[false, true]),
        Some(other) => Err(Error::format(format!("direction = {other}"))),
    }
}

/// The activations of all directions, which must be the usual ones unless `may` says otherwise.
fn activations(call: &Call<'_>, usual: &[&str], directions: usize) -> Result<Vec<String>> {
    let given = call.attr("activations").map(|a| a.strings.clone()).unwrap_or_default();
    let given: Vec<String> = given.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect();
    if given.is_empty() {
        return Ok(usual.iter().map(|s| (*s).to_string()).cycle().take(usual.len() * directions).collect());
    }
    Ok(given)
}

fn need_usual(call: &Call<'_>, usual: &[&str], directions: usize) -> Result<()> {
    let given = activations(call, usual, directions)?;
    let same = given.len() == usual.len() * directions
        && given.iter().zip(usual.iter().cycle()).all(|(a, b)| a.eq_ignore_ascii_case(b));
    if same { Ok(()) } else { Err(Error::format(format!("activations = {given:?} are not read, only {usual:?}"))) }
}

/// What one direction needs: weights and biases in PyTorch's order of gates, and states.
struct Direction {
    w_ih: Sym,
    w_hh: Sym,
    biases: Option<(Sym, Sym)>,
    states: Vec<Sym>,
}

/// Blocks of rows in another order.
fn ordered(x: &Sym, order: &[usize], what: &str) -> Result<Sym> {
    let rows = x.array().shape().first().copied().unwrap_or(0);
    if rows % order.len() != 0 {
        return Err(Error::format(format!("{what} has {rows} rows, which {} gates cannot share", order.len())));
    }
    let blocks = order.iter().map(|&g| {
        let size = (rows / order.len()) as i64;
        x.narrow(0, g as i64 * size, size)
    });
    let blocks = blocks.collect::<Result<Vec<_>>>()?;
    if blocks.len() == 1 { Ok(x.clone()) } else { Sym::cat(&blocks.iter().collect::<Vec<_>>(), 0) }
}

/// Direction `d`; `order` says which of ONNX's gates stands in each of PyTorch's places, `states` where the initial
/// states are among the inputs.
fn direction(call: &Call<'_>, d: i64, order: &[usize], states: &[usize]) -> Result<Direction> {
    let (x, w, r) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let w_ih = ordered(&w.select(0, d)?, order, "W")?;
    let w_hh = ordered(&r.select(0, d)?, order, "R")?;
    let biases = match call.maybe(3)? {
        None => None,
        Some(b) => {
            let both = b.select(0, d)?.chunk(2, 0)?;
            let [own, back] = &both[..] else { return Err(Error::format("B does not hold two biases")) };
            Some((ordered(own, order, "B")?, ordered(back, order, "B")?))
        }
    };
    let hidden = w_hh.array().shape().last().copied().unwrap_or(0);
    let [_, batch, _] = x.array().shape()[..] else {
        return Err(Error::format(format!("its input must be [steps, batch, size], got {:?}", x.array().shape())));
    };
    let states = states.iter().map(|&i| match call.maybe(i)? {
        Some(state) => state.select(0, d),
        None => Sym::full(0.0, [batch, hidden], x.array().dtype(), Device::Meta),
    });
    Ok(Direction { w_ih, w_hh, biases, states: states.collect::<Result<_>>()? })
}

/// The results of a node: `layer` gives, for each direction, the output and the last states.
fn layers(
    call: &mut Call<'_>,
    order: &[usize],
    states: &[usize],
    layer: impl Fn(&Sym, &Direction, bool, usize) -> Result<Vec<Sym>>,
) -> Result<Vec<Item>> {
    call.only("layout", 0)?;
    if call.item(4).is_some() {
        return Err(Error::format("sequence_lens is not read: all sequences must have one length"));
    }
    if call.attr("clip").is_some() || call.item(7).is_some() {
        return Err(Error::format("clip and peepholes are not read"));
    }
    let x = call.tensor(0)?;
    let made = directions(call)?
        .iter()
        .enumerate()
        .map(|(d, &reverse)| layer(&x, &direction(call, d as i64, order, states)?, reverse, d));
    let made = made.collect::<Result<Vec<_>>>()?;
    let count = made.first().map_or(0, Vec::len);
    let results = (0..count).map(|k| {
        let each: Vec<&Sym> = made.iter().filter_map(|m| m.get(k)).collect();
        // The output has its directions behind the steps, a state in front.
        Ok(Sym::stack(&each, i64::from(k == 0))?.into())
    });
    results.collect()
}

fn lstm(call: &mut Call<'_>) -> Result<Vec<Item>> {
    call.only("input_forget", 0)?;
    let count = directions(call)?.len();
    need_usual(call, &["Sigmoid", "Tanh", "Tanh"], count)?;
    layers(call, &[0, 2, 3, 1], &[5, 6], |x, d, reverse, _| {
        let [h, c] = &d.states[..] else { return Err(Error::format("a state is missing")) };
        let (b_ih, b_hh) = d.biases.as_ref().map(|(a, b)| (a, b)).unzip();
        let (y, h, c) = x.lstm_layer(h, c, &d.w_ih, &d.w_hh, b_ih, b_hh, reverse)?;
        Ok(vec![y, h, c])
    })
}

fn gru(call: &mut Call<'_>) -> Result<Vec<Item>> {
    if call.int("linear_before_reset", 0) == 0 {
        return Err(Error::format("linear_before_reset = 0 is not read, only 1"));
    }
    let count = directions(call)?.len();
    need_usual(call, &["Sigmoid", "Tanh"], count)?;
    layers(call, &[1, 0, 2], &[5], |x, d, reverse, _| {
        let [h] = &d.states[..] else { return Err(Error::format("a state is missing")) };
        let (b_ih, b_hh) = d.biases.as_ref().map(|(a, b)| (a, b)).unzip();
        let (y, h) = x.gru_layer(h, &d.w_ih, &d.w_hh, b_ih, b_hh, reverse)?;
        Ok(vec![y, h])
    })
}

fn rnn(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let names = activations(call, &["Tanh"], directions(call)?.len())?;
    layers(call, &[0], &[5], |x, d, reverse, place| {
        let [h] = &d.states[..] else { return Err(Error::format("a state is missing")) };
        let name = names.get(place).map_or(String::new(), |n| n.to_ascii_lowercase());
        let (b_ih, b_hh) = d.biases.as_ref().map(|(a, b)| (a, b)).unzip();
        let (y, h) = x.rnn_layer(h, &d.w_ih, &d.w_hh, b_ih, b_hh, name, reverse)?;
        Ok(vec![y, h])
    })
}
