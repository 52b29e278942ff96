//! Shares, gathering, sums, and a part that panics.
#![allow(clippy::unwrap_used)]

use super::*;

const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);

#[test]
fn shares_are_contiguous_and_differ_by_one_row_at_most() {
    for (rows, count) in [(200, 1), (200, 3), (7, 4), (5, 5)] {
        let shares: Vec<Range<usize>> = (0..count).map(|index| share(3..3 + rows, index, count)).collect();
        assert_eq!((shares[0].start, shares[count - 1].end), (3, 3 + rows));
        assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
        let lengths = shares.iter().map(Range::len);
        assert!(lengths.clone().max().unwrap() - lengths.min().unwrap() <= 1);
    }
}

#[test]
fn every_part_gathers_the_rows_of_all_in_order() {
    let team = Team::new(3, 5, None).unwrap();
    let all = Tensor::arange(30, OPTIONS);
    let inputs: Vec<Tensor> = team
        .parts(30)
        .into_iter()
        .map(|rows| all.narrow(0, rows.start as i64, rows.len() as i64).copy())
        .collect();
    assert_eq!(inputs.len(), 3);
    let found = team
        .each(30, inputs, |part, rows: Tensor| {
            let [first, second] = part.gather([&rows, &(&rows * 2.0)]);
            let [third] = part.gather([&(&rows * 3.0)]);
            (first, second, third, part.cut(&rows, 0))
        })
        .unwrap();
    let mut pieces = Vec::new();
    for (first, second, third, cut) in found {
        assert!(first.equal(&all) && second.equal(&(&all * 2.0)) && third.equal(&(&all * 3.0)));
        pieces.extend(cut);
    }
    assert!(pieces.len() == 5 && pieces.iter().all(|piece| piece.numel() == 6));
    assert!(Tensor::cat(&pieces, 0).equal(&all));
}

#[test]
fn sums_add_the_pieces() {
    let team = Team::new(1, 3, None).unwrap();
    let piece = |number: f64| ([number], vec![Tensor::full([2], number, OPTIONS)]);
    let ([number], tensors) = team.sum(vec![piece(1.5), piece(2.0), piece(4.0)]).unwrap();
    assert_eq!(number, 7.5);
    assert!(tensors[0].equal(&Tensor::full([2], 7.5, OPTIONS)));
}

#[test]
#[should_panic]
fn a_panic_in_one_part_wakes_the_others() {
    let team = Team::new(2, 2, None).unwrap();
    let _ = team.each(20, vec![0, 1], |part, index| {
        assert!(index == 0, "this part fails");
        let _ = part.gather([&Tensor::zeros([10], OPTIONS)]);
    });
}
