package walkthrough

import (
	"reflect"
	"strings"
	"testing"
)

// fenced is a document whose fences are easier to read.
func fenced(lines ...string) string {
	return strings.ReplaceAll(strings.Join(lines, "\n"), "~~~", fence)
}

func TestStepsAreReadInOrder(t *testing.T) {
	got, err := Read(fenced(
		"# A document with `zfs destroy tank` in its text",
		"~~~sh",
		"one --flag    # says why",
		"",
		"# a comment",
		`two \`,
		"    --on",
		"~~~",
		"1. of a list:",
		"",
		"   ~~~sh",
		"   three | sh -c '",
		"   ~~~",
		"",
		"   ~~~",
		"    Driver: ours",
		"     Size: 1: 2",
		"   and more",
		"   ~~~",
		"2. a file",
		"",
		"   ~~~json",
		`   {"a": 1,`,
		`    "b": 2}`,
		"   ~~~",
		"",
	))
	if err != nil {
		t.Fatal(err)
	}
	want := []Step{
		{Line: 3, Language: Shell, Text: "one --flag    # says why"},
		{Line: 6, Language: Shell, Text: "two     --on"},
		{Line: 12, Language: Shell, Text: "three | sh -c '", Shown: " Driver: ours\n  Size: 1: 2\nand more\n"},
		{Line: 22, Language: "json", Text: "{\"a\": 1,\n \"b\": 2}\n"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if labels := got[2].Labels(); !reflect.DeepEqual(labels, []string{"Driver", "Size"}) {
		t.Errorf("labels %q", labels)
	}
}

func TestBadDocumentsAreErrors(t *testing.T) {
	for name, document := range map[string]string{
		"a block without an end":  fenced("~~~sh", "one"),
		"output of nothing":       fenced("~~~", "what is this", "~~~"),
		"the end of another file": fenced("~~~sh", "one", "~~~", "~~~sh"),
	} {
		if steps, err := Read(document); err == nil {
			t.Errorf("%s: %+v", name, steps)
		}
	}
}
