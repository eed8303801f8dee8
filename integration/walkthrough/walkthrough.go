// Package walkthrough reads a Markdown document for what it has its reader do:
// the commands of its fenced blocks, the files that it shows, and what it says
// will be printed. Doing it is the business of whoever follows the document.
package walkthrough

import (
	"errors"
	"fmt"
	"strings"
)

const fence = "```"

// Shell is the language of blocks that hold commands.
const Shell = "sh"

// Step is one thing that a document has its reader do.
type Step struct {
	Line     int    // where it begins
	Language string // of its block: Shell, or that of a file's content
	Text     string // a command with its comment, or a file's content
	Shown    string // what the document says that it prints, if it does
}

// Read returns a document's steps, in its order. A block without a language is
// what the step before prints.
func Read(markdown string) (steps []Step, err error) {
	all, err := parseBlocks(markdown)
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		switch b.language {
		case Shell:
			steps = append(steps, b.parseCommands()...)
		case "":
			if len(steps) == 0 {
				return nil, fmt.Errorf("line %d: the block has no language, and nothing that would print it stands before", b.line)
			}
			steps[len(steps)-1].Shown = b.content()
		default:
			steps = append(steps, Step{Line: b.line, Language: b.language, Text: b.content()})
		}
	}
	return steps, nil
}

// Labels are the names in front of the colons in what a step is said to print.
func (s Step) Labels() (labels []string) {
	for line := range strings.Lines(s.Shown) {
		if label, _, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			labels = append(labels, label)
		}
	}
	return labels
}

// block is what stands between two fences, of which the first is in line.
type block struct {
	line     int
	language string
	indent   string // of a list item
	lines    []string
}

func parseBlocks(markdown string) (all []block, err error) {
	inside := false
	for i, line := range strings.Split(markdown, "\n") {
		bare := strings.TrimLeft(line, " ")
		language, isFence := strings.CutPrefix(bare, fence)
		switch {
		case isFence && inside:
			inside = false
		case isFence:
			inside = true
			all = append(all, block{line: i + 1, language: strings.TrimSpace(language), indent: line[:len(line)-len(bare)]})
		case inside:
			last := &all[len(all)-1]
			last.lines = append(last.lines, strings.TrimPrefix(line, last.indent))
		}
	}
	if inside {
		err = errors.New("the last block has no end")
	}
	return all, err
}

func (b block) content() string { return strings.Join(b.lines, "\n") + "\n" }

// parseCommands are the block's lines, but for blank ones and mere comments. A line
// that ends in a backslash goes on in the next.
func (b block) parseCommands() (steps []Step) {
	next := Step{Language: Shell}
	for i, line := range b.lines {
		if next.Text == "" {
			next.Line = b.line + 1 + i
		}
		text, more := strings.CutSuffix(line, `\`)
		next.Text += text
		if more && i < len(b.lines)-1 {
			continue
		}
		next.Text = strings.TrimSpace(next.Text)
		if next.Text != "" && !strings.HasPrefix(next.Text, "#") {
			steps = append(steps, next)
		}
		next.Text = ""
	}
	return steps
}
