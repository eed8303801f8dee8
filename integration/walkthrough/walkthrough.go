package walkthrough

import (
	"errors"
	"fmt"
	"strings"
)

const fence = "```"

// Shell is the language of blocks that hold commands.
const Shell = "sh"

// Step is a step of a document.
type Step struct {
	Line     int    // its first line
	Language string // its block's: Shell, or the language of a file
	Text     string // a command with its comment, or a file's content
	Shown    string // the output that the document shows, if any
}

// Read returns a document's steps in order. A block without a language is the output of
// the step before.
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
				return nil, fmt.Errorf("line %d: the block has no language, and no command before it", b.line)
			}
			steps[len(steps)-1].Shown = b.content()
		default:
			steps = append(steps, Step{Line: b.line, Language: b.language, Text: b.content()})
		}
	}
	return steps, nil
}

// Labels returns the names before colons in the output that the document shows.
func (s Step) Labels() (labels []string) {
	for line := range strings.Lines(s.Shown) {
		if label, _, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			labels = append(labels, label)
		}
	}
	return labels
}

// block is the text between two fences; line is the first fence's.
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

// parseCommands returns the block's commands, without blank lines and mere comments. A
// backslash at the end of a line continues the command.
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
