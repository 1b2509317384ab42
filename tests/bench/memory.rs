//! P12: memory over a million tasks.

use std::sync::Arc;

use crate::plane::{Plane, Policies};

const TASKS: usize = 1_000_000;
const BATCH: usize = 1_000;

/// Resident memory in bytes (proc(5), `statm`: pages, of 4 KiB on this machine).
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0
}

/// The slope of a line through the points (least squares).
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let over: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let under: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    over / under
}

pub(crate) async fn run() {
    println!("P12 memory");
    let plane = Arc::new(Plane::new(Policies::On).await);
    let mut points = Vec::new();
    for done in (BATCH..=TASKS).step_by(BATCH) {
        plane.submit_batch(BATCH).await;
        let mut left = BATCH;
        while left > 0 {
            left -= plane.work(100).await;
        }
        if done % 10_000 == 0 {
            points.push((done as f64, resident()));
        }
    }
    let settled: Vec<(f64, f64)> = points
        .iter()
        .copied()
        .filter(|point| point.0 >= 100_000.0)
        .collect();
    println!(
        "  {TASKS} whole lives: {:.1} MiB resident at the end, {:.2} bytes a task over the last 900 000",
        points.last().unwrap().1 / 1_048_576.0,
        slope(&settled)
    );
    let before = resident();
    for _ in 0..TASKS / BATCH {
        plane.submit_batch(BATCH).await;
    }
    println!(
        "  {TASKS} queued: {:.1} bytes a task",
        (resident() - before) / TASKS as f64
    );
}
