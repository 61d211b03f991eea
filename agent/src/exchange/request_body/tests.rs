use std::collections::VecDeque;

use bytes::Bytes;
use http_body::Frame;
use proptest::prelude::*;
use weir_ai::Splice;

use super::apply;

proptest! {
    /// However a body was cut into frames, a splice yields the bytes that it would yield in one piece.
    #[test]
    fn a_splice_does_not_depend_on_the_frames(
        body in proptest::collection::vec(any::<u8>(), 1..200),
        insert in proptest::collection::vec(any::<u8>(), 0..20),
        cuts in proptest::collection::btree_set(0_usize..200, 0..8),
        at in 0_usize..200, removed in 0_usize..20, base in 0_u64..1000,
    ) {
        let start = at.min(body.len());
        let end = (start + removed).min(body.len());
        let mut whole = body.clone();
        whole.splice(start..end, insert.iter().copied());

        let mut frames = VecDeque::new();
        let mut last = 0;
        for cut in cuts.into_iter().map(|cut| cut.min(body.len())).chain([body.len()]) {
            frames.push_back(Frame::data(Bytes::copy_from_slice(&body[last..cut])));
            last = cut;
        }
        apply(&mut frames, base, Splice { range: base + start as u64..base + end as u64, insert: insert.into() });
        let spliced: Vec<u8> = frames.into_iter().flat_map(|frame| frame.into_data().expect("only data went in")).collect();
        prop_assert_eq!(spliced, whole);
    }
}
