package dockerconf

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var someChanges = []Change{
	{[]string{"experimental"}, true},
	{[]string{"storage-driver"}, "overlayzfs"},
	{[]string{"storage-opts"}, []string{"overlayzfs.dataset=tank/a", "overlayzfs.size=10G"}},
	{[]string{"features", "containerd-snapshotter"}, nil},
	{[]string{"features", "buildkit"}, true},
}

// TestEditKeepsTheRest: what is not changed stays byte for byte.
func TestEditKeepsTheRest(t *testing.T) {
	for before, after := range map[string]string{
		"": `{
  "experimental": true,
  "storage-driver": "overlayzfs",
  "storage-opts": ["overlayzfs.dataset=tank/a", "overlayzfs.size=10G"],
  "features": {
    "buildkit": true
  }
}
`,
		"{\n\t\"zz-unknown\": {\"b\":  1, \"a\": [2,3]},\n\t\"storage-driver\":\"overlay2\",\n\t\"features\": {\"containerd-snapshotter\": true},\n\t\"log-level\": \"warn\"\n}\n": "{\n\t\"zz-unknown\": {\"b\":  1, \"a\": [2,3]},\n\t\"storage-driver\":\"overlayzfs\",\n\t\"features\": {\n    \"buildkit\": true\n  },\n\t\"log-level\": \"warn\",\n\t\"experimental\": true,\n\t\"storage-opts\": [\"overlayzfs.dataset=tank/a\", \"overlayzfs.size=10G\"]\n}\n",
		`{"debug": true, "features": {"buildkit": false}}`: `{"debug": true, "features": {"buildkit": true}, "experimental": true, "storage-driver": "overlayzfs", "storage-opts": ["overlayzfs.dataset=tank/a", "overlayzfs.size=10G"]}`,
	} {
		got, err := Edit([]byte(before), someChanges)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(after, string(got)); diff != "" {
			t.Errorf("- wanted, + got:\n%s", diff)
		}
		if again, err := Edit(got, someChanges); err != nil || string(again) != string(got) {
			t.Errorf("a second time it gives %s, %v", again, err)
		}
	}
}

// TestEditTakesAway a key however often it is there, and leaves the layout.
func TestEditTakesAway(t *testing.T) {
	without := []Change{{Path: []string{"a"}}}
	for before, after := range map[string]string{
		"":                                       "{}\n",
		`{"a": 1, "b": 2}`:                       `{"b": 2}`,
		`{"b": 2, "a": 1 }`:                      `{"b": 2 }`,
		"{\n\t\"a\": 1,\n\t\"b\":2\n}\n":         "{\n\t\"b\":2\n}\n",
		`{"a": 1, "b": 2, "a": 3}`:               `{"b": 2}`,
		`{ "a": {"c": 1}}`:                       `{}`,
		`{ "b": 2 , "storage-opts": [ "a=1"] } `: `{ "b": 2 , "storage-opts": [ "a=1"] } `,
	} {
		if got, err := Edit([]byte(before), without); err != nil || string(got) != after {
			t.Errorf("%q became %q, %v; want %q", before, got, err, after)
		}
		if got, err := Edit([]byte(before), nil); err != nil || string(got) != before {
			t.Errorf("without changes %q became %q, %v", before, got, err)
		}
	}
}

// TestBack gives keys what they had, as it was written, and nothing else.
func TestBack(t *testing.T) {
	for _, tt := range []struct{ before, now, after string }{
		{`{"a": [ "x",1 ], "c": 1}`, `{"a": ["y"], "b": true, "c": 2}`, `{"a": [ "x",1 ], "c": 2}`},
		{`{"b": {"deep" : 1}}`, `{"c": 1}`, `{"c": 1, "b": {"deep" : 1}}`},
		{"", `{"a": 1, "b": 2}`, `{}`},
		{`{"a": 1}`, "", "{\n  \"a\": 1\n}\n"},
		{`{"a": 1}`, ` {"a": 1}`, ` {"a": 1}`},
		{"", "", ""},
	} {
		changes, err := DiffKeys([]byte(tt.now), []byte(tt.before), "a", "b")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Edit([]byte(tt.now), changes); err != nil || string(got) != tt.after {
			t.Errorf("%s, which was %s, became %s, %v; want %s", tt.now, tt.before, got, err, tt.after)
		}
	}
	for _, contents := range [][2]string{{"{", "{}"}, {"{}", "{\n,"}} {
		if _, err := DiffKeys([]byte(contents[0]), []byte(contents[1]), "a"); err == nil || !strings.Contains(err.Error(), "line") {
			t.Errorf("%q: %v", contents, err)
		}
	}
}

func TestEditRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"{\n  \"a\": 1,\n}":            "line 3, column 1",
		"{\n  // why\n  \"a\": 1\n}":   "line 2",
		"[]":                           "cannot unmarshal array",
		`{"features": {"x": "yes"}}`:   "line 1",
		"{\"experimental\": \"maybe\"": "unexpected end",
	} {
		if _, err := Edit([]byte(text), someChanges); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Edit([]byte(`{"a": 1}`), []Change{{[]string{"a", "b"}, true}}); err == nil || !strings.Contains(err.Error(), "not a JSON object") {
		t.Error(err)
	}
}

// FuzzEdit: what Edit takes it gives back with the changes, and with every other
// key as it was.
func FuzzEdit(f *testing.F) {
	for _, text := range []string{"", "{}", `{"a":{"b":[1]},"features":{"x":true}}`, "{\n \"a\" : 1 }", `{"features":null}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		edited, err := Edit(raw, someChanges)
		if err != nil {
			return
		}
		c, err := Decode(edited)
		if err != nil || c.StorageDriver != "overlayzfs" || !c.Experimental || len(c.StorageOpts) != 2 {
			t.Fatalf("%q became %q: %+v, %v", raw, edited, c, err)
		}
		var before, after map[string]json.RawMessage
		if err := json.Unmarshal(edited, &after); err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal(raw, &before) // nothing, if it was empty
		for key, value := range before {
			switch key {
			case "experimental", "storage-driver", "storage-opts", "features":
			default:
				if string(after[key]) != string(value) {
					t.Fatalf("%q became %q in %q", value, after[key], edited)
				}
			}
		}
	})
}
