//! The census table, or one that looks like it.

use esker::data::{Categories, Csv, Table, find_data};
use esker::prelude::*;
use esker::tensor::philox::{Key, block, uniform_f32};

const COLUMNS: [&str; 15] = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "income",
];
/// fnlwgt, how many persons a row stands for, says nothing of the person.
const NUMBERS: [&str; 5] = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"];
const CATEGORIES: [&str; 8] =
    ["workclass", "education", "marital-status", "occupation", "relationship", "race", "sex", "native-country"];
/// Amounts of money, which are taken as logarithms.
const MONEY: [&str; 2] = ["capital-gain", "capital-loss"];

/// Persons: numbers f32 `[n, 5]`, codes of categories i64 `[n, 8]`, and 1 for each who earns more than 50,000, f32 `[n]`.
pub(crate) struct Census {
    pub(crate) numbers: Tensor,
    pub(crate) codes: Tensor,
    pub(crate) rich: Tensor,
}

/// The training table, the test table, and the number of codes of each category.
pub(crate) fn read(quick: bool) -> Result<(Census, Census, Vec<usize>)> {
    let csv = Csv::new().names(&COLUMNS).missing("?").comment(b'|');
    let paths = if quick { None } else { find_data("adult", ["adult.data", "adult.test"]).map_err(announce).ok() };
    let (training, test) = match paths {
        Some([training, test]) => (csv.read(training)?, csv.read(test)?),
        None => (csv.parse(made_up(4096, Key(1)).as_bytes())?, csv.parse(made_up(1024, Key(2)).as_bytes())?),
    };
    let categories = CATEGORIES.iter().map(|c| training.categories(c)).collect::<Result<Vec<_>>>()?;
    let codes = categories.iter().map(Categories::codes).collect();
    Ok((census(&training, &categories)?, census(&test, &categories)?, codes))
}

fn announce(why: Error) {
    println!("{why}; a made-up table is taken instead");
}

fn census(table: &Table, categories: &[Categories]) -> Result<Census> {
    let number = |name: &&str| {
        let money = MONEY.contains(name);
        let column = table.numbers(name)?.into_iter().map(|x| if money { x.ln_1p() } else { x } as f32);
        Tensor::from_vec(column.collect::<Vec<_>>())
    };
    let numbers = NUMBERS.iter().map(number).collect::<Result<Vec<_>>>()?;
    let codes = CATEGORIES.iter().zip(categories).map(|(name, c)| Tensor::from_vec(table.codes(name, c)?));
    let codes = codes.collect::<Result<Vec<_>>>()?;
    // The test table has full stops behind these: `>50K.`
    let rich = table.texts("income")?.into_iter().map(|t| t.is_some_and(|t| t.starts_with('>')));
    let rich: Vec<f32> = rich.map(|rich| f32::from(u8::from(rich))).collect();
    Ok(Census {
        numbers: Tensor::stack(&numbers.iter().collect::<Vec<_>>(), 1)?,
        codes: Tensor::stack(&codes.iter().collect::<Vec<_>>(), 1)?,
        rich: Tensor::from_vec(rich)?,
    })
}

/// Rows of a made-up country, in the census's format: school, age and work decide on income, with some luck.
fn made_up(rows: u64, key: Key) -> String {
    let mut text = String::from("|a made-up table\n");
    for i in 0..rows {
        let [a, b, c, d] = block(key, 2 * i).map(uniform_f32);
        let [e, f, g, h] = block(key, 2 * i + 1).map(uniform_f32);
        let pick = |u: f32, from: &[&'static str]| from[(u * from.len() as f32) as usize];
        let (age, school, hours) = (18.0 + 50.0 * a, 4.0 + 12.0 * b, 20.0 + 40.0 * c);
        let work = pick(d, &["Private", "State-gov", "Self-emp-inc", "?"]);
        let married = pick(e, &["Married-civ-spouse", "Never-married", "Divorced"]);
        let merit = (age - 40.0) / 20.0 + (school - 10.0) / 3.0 + (hours - 40.0) / 15.0 + 3.0 * (f - 0.5);
        let bonus = if married == "Married-civ-spouse" { 1.0 } else { -0.5 };
        let income = if merit + bonus > 1.0 { ">50K" } else { "<=50K" };
        let gain = if g > 0.9 { 5000.0 * h } else { 0.0 };
        let sex = pick(h, &["Female", "Male"]);
        text += &format!(
            "{age:.0}, {work}, 1, School-{school:.0}, {school:.0}, {married}, Sales, Unmarried, White, {sex}, {gain:.0}, 0, \
             {hours:.0}, United-States, {income}\n"
        );
    }
    text
}
