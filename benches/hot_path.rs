//! What the pieces of the hot path take, each with its budget beside its name: `cargo bench --bench hot_path`.

mod work;

use criterion::{Criterion, criterion_group, criterion_main};

fn hot_path(criterion: &mut Criterion) {
    for mut piece in work::pieces() {
        let name = format!("{} (≤ {:?})", piece.name, piece.budget);
        criterion.bench_function(&name, |bencher| bencher.iter(&mut piece.run));
    }
}

criterion_group!(benches, hot_path);
criterion_main!(benches);
