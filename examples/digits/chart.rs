//! The learning curve as a drawing.

use std::path::Path;

use esker::prelude::*;
use plotters::prelude::*;

use crate::train::Epoch;

type Point = (f64, f64);

/// Writes losses (left) and accuracy (right) over the epochs as an SVG file.
pub(crate) fn write(path: &Path, curve: &[Epoch]) -> Result<()> {
    let mut svg = String::new();
    draw(&mut svg, curve).map_err(|e| Error::format(format!("learning curve: {e}")))?;
    esker::tensor::write_atomic(path, svg.as_bytes())
}

fn draw(svg: &mut String, curve: &[Epoch]) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let points = |f: fn(&Epoch) -> f64| -> Vec<Point> {
        curve.iter().enumerate().map(|(i, e)| ((i + 1) as f64, f(e))).collect()
    };
    let (train, held) = (points(|e| e.train_loss), points(|e| e.held_loss));
    let accuracy = points(|e| 100.0 * e.accuracy);
    let highest = train.iter().chain(&held).map(|p| p.1).fold(0.1, f64::max);
    let lowest = accuracy.iter().map(|p| p.1).fold(100.0, f64::min).floor().min(99.0);

    let root = SVGBackend::with_string(svg, (1000, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(500);
    panel(&left, "loss", 0.0..highest, &[(train, BLUE, "training"), (held, RED, "held out")])?;
    panel(&right, "held-out accuracy, %", lowest..100.0, &[(accuracy, RED, "held out")])?;
    root.present()?;
    Ok(())
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    y: std::ops::Range<f64>,
    lines: &[(Vec<Point>, RGBColor, &str)],
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let epochs = lines.iter().map(|l| l.0.len()).max().unwrap_or(1).max(2) as f64;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(title, ("sans-serif", 18))
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(1.0..epochs, y)?;
    chart.configure_mesh().max_light_lines(1).x_desc("epoch").x_label_formatter(&|x| format!("{x:.0}")).draw()?;
    for (points, color, name) in lines {
        let color = *color;
        let line = chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?;
        line.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().border_style(BLACK.mix(0.3)).background_style(WHITE).draw()?;
    Ok(())
}
