use esker_nn::{Linear, Module};

#[derive(Module)]
struct Misspelt {
    #[module(rnme = "out_proj")]
    output: Linear,
}

#[derive(Module)]
enum Either {
    Left(Linear),
}

fn main() {}
