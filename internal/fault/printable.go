package fault

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable is text that a terminal only shows: names of files can hold what it
// obeys. Such text is quoted, with escapes; other is as it was.
func Printable(text string) string {
	odd := func(r rune) bool { return !unicode.IsGraphic(r) }
	if utf8.ValidString(text) && !strings.ContainsFunc(text, odd) {
		return text
	}
	return strconv.QuoteToGraphic(text)
}
