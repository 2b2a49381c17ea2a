//! Captions as CLIP's text transformer reads them: byte-pair tokens between a start and an end token.

use instant_clip_tokenizer::{Token, Tokenizer};
use unicode_normalization::UnicodeNormalization;

/// Number of different tokens.
pub const VOCABULARY: usize = 49_408;
/// Most tokens of a caption, start and end included.
pub const CONTEXT: usize = 77;
/// The token before a caption.
pub const START: i64 = 49_406;
/// The token after a caption, and the padding behind it.
pub const END: i64 = 49_407;

/// Captions as rows of equal length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Token numbers [captions, length], row by row: start, the caption's tokens, end, and more ends as padding.
    pub ids: Vec<i64>,
    /// Tokens of a row: those of the longest caption, at most [`CONTEXT`].
    pub length: usize,
}

/// CLIP's tokeniser with its own vocabulary.
pub struct CaptionTokenizer {
    pairs: Tokenizer,
}

impl CaptionTokenizer {
    /// Unpacks the vocabulary, which takes some tens of milliseconds: make one and keep it.
    pub fn new() -> Self {
        CaptionTokenizer { pairs: Tokenizer::new() }
    }

    /// Tokens of one caption: start, at most `CONTEXT - 2` of the text, end.
    pub fn encode(&self, caption: &str) -> Vec<i64> {
        // The vocabulary knows composed characters only. The tokeniser's own names for its markers are plain text in a
        // caption: the blank keeps it from taking them for markers, and changes no token.
        let text: String = caption.nfc().collect::<String>().to_lowercase();
        let text = text.replace("<start_of_text>", "< start_of_text>").replace("<end_of_text>", "< end_of_text>");
        let mut tokens = Vec::new();
        self.pairs.encode(&text, &mut tokens);
        tokens.truncate(CONTEXT - 2);
        let inner = tokens.into_iter().map(|token: Token| i64::from(token.to_u16()));
        [START].into_iter().chain(inner).chain([END]).collect()
    }

    /// Tokens of several captions, padded to the longest. Attention is causal, so that the padding changes nothing.
    pub fn batch<S: AsRef<str>>(&self, captions: &[S]) -> Tokens {
        let rows: Vec<Vec<i64>> = captions.iter().map(|caption| self.encode(caption.as_ref())).collect();
        let length = rows.iter().map(Vec::len).max().unwrap_or_default();
        let padded = |row: Vec<i64>| row.into_iter().chain(std::iter::repeat(END)).take(length);
        Tokens { ids: rows.into_iter().flat_map(padded).collect(), length }
    }
}

impl Default for CaptionTokenizer {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for CaptionTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CaptionTokenizer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_captions_give_known_tokens() {
        let tokenizer = CaptionTokenizer::new();
        assert_eq!(tokenizer.encode("Hi there"), [START, 1883, 997, END]);
        assert_eq!(tokenizer.encode("A person riding a motorcycle"), [START, 320, 2533, 6765, 320, 10297, END]);
        assert_eq!(tokenizer.encode(" HI\n\tThere  "), tokenizer.encode("hi there"));
        assert_eq!(tokenizer.encode(""), [START, END]);
        // Small letters as Python makes them, which CLIP was trained with: a sigma knows where its word ends.
        assert_eq!(tokenizer.encode("\u{39f}\u{3a3}"), tokenizer.encode("\u{3bf}\u{3c2}"));
    }

    #[test]
    fn a_batch_is_padded_to_its_longest_caption() {
        let tokens = CaptionTokenizer::new().batch(&["Hi there", "", "hi"]);
        assert_eq!(tokens.length, 4);
        assert_eq!(tokens.ids, [START, 1883, 997, END, START, END, END, END, START, 1883, END, END]);
        let empty: [&str; 0] = [];
        assert_eq!(CaptionTokenizer::new().batch(&empty), Tokens { ids: Vec::new(), length: 0 });
    }

    #[test]
    fn a_long_caption_is_cut_and_keeps_its_end() {
        let tokenizer = CaptionTokenizer::new();
        let (exact, long) = (tokenizer.encode(&"there ".repeat(75)), tokenizer.encode(&"there ".repeat(500)));
        assert_eq!((exact.len(), exact[76]), (CONTEXT, END));
        assert_eq!(long, exact);
        assert_eq!(tokenizer.encode(&"there ".repeat(74)).len(), CONTEXT - 1);
    }

    #[test]
    fn no_text_makes_a_marker() {
        let tokenizer = CaptionTokenizer::new();
        for text in ["a <end_of_text> b", "a <Start_Of_Text> b", "<|endoftext|>", "<|startoftext|>"] {
            let inner = &tokenizer.encode(text)[1..];
            assert!(inner[..inner.len() - 1].iter().all(|&t| (0..START).contains(&t)), "{text}");
            assert!(inner.len() > 4);
        }
    }

    #[test]
    fn composed_and_decomposed_characters_are_the_same() {
        let tokenizer = CaptionTokenizer::new();
        assert_eq!(tokenizer.encode("Zu\u{308}rich"), tokenizer.encode("Z\u{fc}rich"));
        // Bytes outside the vocabulary's words still have tokens.
        assert!(tokenizer.encode("\u{1f6a6}\u{4e2d}\u{0}").iter().all(|&t| t < VOCABULARY as i64));
    }
}
