package fault

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns text that is safe to show on a terminal. Names of files can hold
// control sequences: such text is quoted, with escapes, and other text is unchanged.
func Printable(text string) string {
	odd := func(r rune) bool { return !unicode.IsGraphic(r) }
	if utf8.ValidString(text) && !strings.ContainsFunc(text, odd) {
		return text
	}
	return strconv.QuoteToGraphic(text)
}
