package tomledit

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestSetString(t *testing.T) {
	for name, tt := range map[string]struct{ before, after string }{
		"a comment":      {"# top\n[store]\n# the dataset\ndataset = \"\" # of layers\nsync = \"\"\n", "# top\n[store]\n# the dataset\ndataset = \"tank/d\" # of layers\nsync = \"\"\n"},
		"single quotes":  {"[store]\n  dataset   =   'x'\n", "[store]\n  dataset   =   \"tank/d\"\n"},
		"no key":         {"[store] # here\nsync = \"\"\n[limits]\n", "[store] # here\ndataset = \"tank/d\"\nsync = \"\"\n[limits]\n"},
		"the last line":  {"[store]", "[store]\ndataset = \"tank/d\"\n"},
		"no table":       {"version = 1", "version = 1\n\n[store]\ndataset = \"tank/d\"\n"},
		"nothing":        {"", "\n[store]\ndataset = \"tank/d\"\n"},
		"a dotted key":   {"store.dataset = \"x\"\n", "store.dataset = \"tank/d\"\n"},
		"another table":  {"[other]\ndataset = \"x\"\n[store]\ndataset = \"\"\n", "[other]\ndataset = \"x\"\n[store]\ndataset = \"tank/d\"\n"},
		"in a string":    {"a = \"\"\"\n[store]\ndataset = 1\n\"\"\"\n[store]\ndataset = \"\"\"x\n\"\"\"\n", "a = \"\"\"\n[store]\ndataset = 1\n\"\"\"\n[store]\ndataset = \"tank/d\"\n"},
		"below it":       {"[store.more]\ndataset = \"x\"\n", "[store.more]\ndataset = \"x\"\n\n[store]\ndataset = \"tank/d\"\n"},
		"another's item": {"[[a]]\n[[a.store]]\ndataset = \"x\"\n", "[[a]]\n[[a.store]]\ndataset = \"x\"\n\n[store]\ndataset = \"tank/d\"\n"},
		"DOS":            {"[store]\r\ndataset = \"\"\r\n", "[store]\r\ndataset = \"tank/d\"\r\n"},
	} {
		got, err := SetString([]byte(tt.before), "store", "dataset", "tank/d")
		if diff := cmp.Diff(tt.after, string(got)); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		again, err := SetString(got, "store", "dataset", "tank/d")
		if string(again) != string(got) || err != nil {
			t.Errorf("%s, a second time: %v\n%s", name, err, again)
		}
	}
}

func TestAddItem(t *testing.T) {
	for name, tt := range map[string]struct{ before, after string }{
		"nothing":         {"", "imports = [\"/x\"]\n"},
		"a version":       {"# c\nversion = 2 # c\n\n[plugins]\n", "# c\nversion = 2 # c\nimports = [\"/x\"]\n\n[plugins]\n"},
		"no version":      {"# c\ndisabled_plugins = [\"cri\"]\n", "imports = [\"/x\"]\n# c\ndisabled_plugins = [\"cri\"]\n"},
		"empty":           {"imports = []\n", "imports = [\"/x\"]\n"},
		"empty, a line":   {"imports = [ # none\n]\n", "imports = [\"/x\" # none\n]\n"},
		"one":             {"version = 3\nimports = ['a'] # c\nroot = 'r'\n", "version = 3\nimports = ['a', \"/x\"] # c\nroot = 'r'\n"},
		"lines":           {"imports = [\n  'a', # a\n  'b', # b\n]\n", "imports = [\n  'a', # a\n  'b', \"/x\", # b\n]\n"},
		"only in a table": {"[a]\nimports = ['a']\n", "imports = [\"/x\"]\n[a]\nimports = ['a']\n"},
		"tables before":   {"[a]\nversion = 1\n", "imports = [\"/x\"]\n[a]\nversion = 1\n"},
	} {
		got, err := AddItem([]byte(tt.before), "imports", "/x")
		if diff := cmp.Diff(tt.after, string(got)); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]error{
		"[":                          fault.Invalid,
		"store = {dataset = 'x'}\n":  fault.Unsupported,
		"store = 1\n":                fault.Unsupported,
		"[[store]]\ndataset = 'x'\n": fault.Unsupported,
	} {
		if got, err := SetString([]byte(text), "store", "dataset", "tank/d"); !errors.Is(err, want) {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
	if got, err := AddItem([]byte("imports = 'a'\n"), "imports", "/x"); err == nil {
		t.Errorf("a string became %q", got)
	}
	if _, err := SetString(nil, "store", "dataset", "a\"b"); !errors.Is(err, fault.Invalid) {
		t.Errorf("a quote: %v", err)
	}
}

// FuzzEdit: what is taken can be read, and has the change.
func FuzzEdit(f *testing.F) {
	for _, text := range []string{"", "[store]\n# c\ndataset = \"\" # d\n", "version = 2\nimports = ['a', # b\n]\n", "store.dataset = 'x'\n", "imports = [[1]]\n", "[a]\nb = {c = 1}\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		edited, err := SetString([]byte(text), "store", "dataset", "tank/d")
		if err == nil {
			edited, err = AddItem(edited, "imports", "/x")
		}
		if err != nil {
			return
		}
		var c struct {
			Imports []any
			Store   struct{ Dataset string }
		}
		if err := toml.Unmarshal(edited, &c); err != nil || c.Store.Dataset != "tank/d" || c.Imports[len(c.Imports)-1] != "/x" {
			t.Fatalf("%q became %q: %v", text, edited, err)
		}
	})
}
