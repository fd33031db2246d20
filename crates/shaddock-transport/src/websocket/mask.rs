//! The masking of clients' payloads.

/// Applies `mask` to `bytes` and turns it, so that the next call goes on where this one stopped.
pub(crate) fn apply(mask: &mut [u8; 4], bytes: &mut [u8]) {
    let [a, b, c, d] = *mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip([a, b, c, d, a, b, c, d]) {
        *byte ^= key;
    }
    mask.rotate_left(bytes.len() % 4);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_goes_on_where_it_stopped_at_every_cut() {
        let whole: Vec<u8> = (0..40).collect();
        let mask = [0x11, 0x22, 0x33, 0x44];
        let expected: Vec<u8> = whole.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect();
        for cut in 0..=whole.len() {
            let mut bytes = whole.clone();
            let mut turning = mask;
            let (front, back) = bytes.split_at_mut(cut);
            apply(&mut turning, front);
            apply(&mut turning, back);
            assert_eq!(bytes, expected, "cut at {cut}");
        }
    }
}
