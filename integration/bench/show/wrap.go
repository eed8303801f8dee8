package show

import (
	"strings"
	"unicode/utf8"
)

// maxColumns is the longest line of a document, except in tables.
const maxColumns = 100

// wrapLines breaks long lines of a page at spaces. Rows of tables stay whole, and the rest of
// an item of a list is indented below it.
func wrapLines(page string) string {
	var b strings.Builder
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "|") {
			b.WriteString(line)
			continue
		}
		indent := ""
		if strings.HasPrefix(line, "- ") {
			indent = "  "
		}
		column := 0
		for i, word := range strings.Split(strings.TrimSuffix(line, "\n"), " ") {
			length := utf8.RuneCountInString(word)
			switch {
			case i == 0:
			case column+1+length > maxColumns:
				b.WriteString("\n" + indent)
				column = len(indent)
			default:
				b.WriteString(" ")
				column++
			}
			b.WriteString(word)
			column += length
		}
		if strings.HasSuffix(line, "\n") {
			b.WriteString("\n")
		}
	}
	return b.String()
}
