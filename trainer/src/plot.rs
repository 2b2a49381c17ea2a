//! Curves over the steps of a training, as a picture.

use anyhow::Context;
use image::RgbImage;
use plotters::prelude::*;

use crate::canvas::Canvas;

/// One curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// (step, value); values that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// Draws curves over a common axis of steps.
///
/// # Errors
/// When there is no finite point.
pub fn curves(title: &str, value_name: &str, series: &[Series]) -> anyhow::Result<RgbImage> {
    let finite = |&&(x, y): &&(f64, f64)| x.is_finite() && y.is_finite();
    let points = || series.iter().flat_map(|s| &s.points).filter(finite);
    let last = points().map(|p| p.0).fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = points().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| (low.min(p.1), high.max(p.1)));
    anyhow::ensure!(low <= high, "no finite value to draw");
    let margin = (0.05 * (high - low)).max(1e-9);

    let mut image = RgbImage::new(900, 560);
    let area = Canvas(&mut image).into_drawing_area();
    let draw = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..last.max(1.0), low - margin..high + margin)?;
        chart
            .configure_mesh()
            .x_desc("step")
            .y_desc(value_name)
            .light_line_style(WHITE)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .label_style(("sans-serif", 13))
            .draw()?;
        for (i, s) in series.iter().enumerate() {
            let colour = Palette99::pick(i).to_rgba();
            let line = LineSeries::new(s.points.iter().filter(finite).copied(), colour.stroke_width(2));
            chart
                .draw_series(line)?
                .label(&s.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        chart.configure_series_labels().border_style(BLACK).background_style(WHITE.mix(0.8)).draw()?;
        area.present()?;
        Ok(())
    };
    draw().map_err(anyhow::Error::from_boxed).context("drawing the curves")?;
    drop(area);
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_drawn_and_gaps_do_no_harm() {
        let series = [
            Series {
                name: "training".into(),
                points: (0..100).map(|i| (f64::from(i), 5.0 / f64::from(i + 1))).collect(),
            },
            Series { name: "validation".into(), points: vec![(0.0, f64::NAN), (50.0, 3.0), (99.0, 1.0)] },
        ];
        let image = curves("Loss", "cross entropy", &series).unwrap();
        let coloured = image.pixels().filter(|p| p.0[0].abs_diff(p.0[2]) > 60).count();
        assert!(coloured > 300, "{coloured}");
        assert!(curves("Loss", "", &[Series { name: "x".into(), points: vec![(0.0, f64::NAN)] }]).is_err());
        curves("flat", "", &[Series { name: "x".into(), points: vec![(0.0, 2.0)] }]).unwrap();
    }
}
