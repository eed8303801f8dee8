//go:build !vm

package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// variable matches an assignment in front of a command.
var variable = regexp.MustCompile(`^[A-Z_]+=`)

// shellCommands splits a script into the words of its simple commands. It knows what
// documents use: quotes, comments, pipes, lists and "$(…)".
func shellCommands(script string) (all [][]string) {
	script = strings.ReplaceAll(script, "\\\n", " ")
	for line := range strings.Lines(script) {
		var words []string
		end := func() {
			for len(words) > 0 && variable.MatchString(words[0]) {
				words = words[1:]
			}
			if len(words) > 0 {
				all = append(all, words)
			}
			words = nil
		}
		for line = strings.TrimSpace(line); line != "" && line[0] != '#'; line = strings.TrimLeft(line, " \t") {
			n := wordLength(line)
			if n == 0 { // an operator
				end()
				line = strings.TrimLeft(line, "|&;()<>")
				continue
			}
			word := line[:n]
			if inner, ok := strings.CutPrefix(strings.Trim(word, `"`), "$("); ok {
				all = append(all, shellCommands(strings.TrimSuffix(inner, ")"))...)
			}
			words, line = append(words, strings.Trim(word, `"'`)), line[n:]
		}
		end()
	}
	return all
}

// wordLength is the length of the line's first word, 0 for an operator.
func wordLength(line string) int {
	quote := rune(0)
	for i, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'':
			quote = r
		case strings.ContainsRune(" \t|&;()<>", r):
			return i
		}
	}
	return len(line)
}

func TestShellCommands(t *testing.T) {
	got := shellCommands("one --flag    # says | why\n\nX=1 two \\\n  'a # b' && three | ssh other four;five \"$(six --x)\" 7 # $(eight)\n")
	want := [][]string{{"one", "--flag"}, {"two", "a # b"}, {"three"}, {"ssh", "other", "four"}, {"six", "--x"}, {"five", "$(six --x)", "7"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
