package tomledit

import (
	"bytes"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// SetString sets a key of a table to a string. It adds the key, and the table, where they are
// missing.
func SetString(raw []byte, table, key, value string) ([]byte, error) {
	text, err := quote(value)
	if err != nil {
		return nil, err
	}
	l, err := find(raw, table, key)
	if err != nil {
		return nil, err
	}
	var edited []byte
	line := key + " = " + text + "\n"
	switch {
	case l.value.end > 0:
		edited = splice(raw, l.value.start, l.value.end, text)
	case l.tableEnd > 0:
		edited = insertLine(raw, l.tableEnd, line)
	default:
		edited = insertLine(raw, len(raw), "\n["+table+"]\n"+line)
	}
	return edited, requireChange(raw, edited, func(content map[string]any) error {
		t, ok := content[table].(map[string]any)
		if !ok {
			t = map[string]any{}
			content[table] = t
		}
		t[key] = value
		return nil
	})
}

// AddItem appends a string to an array at the top, such as imports. It adds the key where it is
// missing: after the key version, or at the beginning.
func AddItem(raw []byte, key, value string) ([]byte, error) {
	text, err := quote(value)
	if err != nil {
		return nil, err
	}
	l, err := find(raw, "", key)
	if err != nil {
		return nil, err
	}
	var edited []byte
	switch {
	case l.value.end > 0 && l.lastItem.end > 0:
		edited = splice(raw, l.lastItem.end, l.lastItem.end, ", "+text)
	case l.value.end > 0:
		edited = splice(raw, l.value.start+1, l.value.start+1, text)
	default:
		version, err := find(raw, "", "version")
		if err != nil {
			return nil, err
		}
		edited = insertLine(raw, version.value.end, key+" = ["+text+"]\n")
	}
	return edited, requireChange(raw, edited, func(content map[string]any) error {
		list, ok := content[key].([]any)
		if _, there := content[key]; there && !ok {
			return fault.New(fault.Invalid, "%q is no array", key)
		}
		content[key] = append(list, value)
		return nil
	})
}

// span is a part of the content.
type span struct{ start, end int }

// location says where a key is.
type location struct {
	value    span // of the key; empty without it
	lastItem span // of an array; empty without one
	tableEnd int  // the end of the table's header, or 0
}

// find looks for a key of a table, or of the top when table is empty.
func find(raw []byte, table, key string) (l location, err error) {
	path := []string{table, key}
	if table == "" {
		path = path[1:]
	}
	var current []string
	p := unstable.Parser{}
	p.Reset(raw)
	for p.NextExpression() {
		e := p.Expression()
		names, last := readKey(e)
		switch e.Kind {
		case unstable.Table:
			current = names
			if table != "" && slices.Equal(names, path[:1]) {
				l.tableEnd = last.end
			}
		case unstable.ArrayTable:
			current = append(names, "") // in an item of an array
		case unstable.KeyValue:
			if slices.Equal(append(slices.Clone(current), names...), path) {
				l.value, l.lastItem = readValue(raw, e, last)
			}
		}
	}
	if err := p.Error(); err != nil {
		return l, fault.New(fault.Invalid, "%w", err)
	}
	return l, nil
}

// readKey returns the parts of a key, and where its last part is.
func readKey(e *unstable.Node) (names []string, last span) {
	if e.Kind == unstable.Comment {
		return nil, last
	}
	for it := e.Key(); it.Next(); {
		names = append(names, string(it.Node().Data))
		last = toSpan(it.Node().Raw)
	}
	return names, last
}

// readValue returns where the value after a key is, and the last item of an array.
func readValue(raw []byte, e *unstable.Node, key span) (value, lastItem span) {
	value.end = toSpan(e.Raw).end
	value.start = key.end + 1 + bytes.IndexByte(raw[key.end:], '=')
	for value.start < value.end && strings.IndexByte(" \t", raw[value.start]) >= 0 {
		value.start++
	}
	if e.Value().Kind != unstable.Array {
		return value, lastItem
	}
	for it := e.Value().Children(); it.Next(); {
		if it.Node().Kind != unstable.Comment {
			lastItem = toSpan(it.Node().Raw)
		}
	}
	return value, lastItem
}

func toSpan(r unstable.Range) span { return span{int(r.Offset), int(r.Offset + r.Length)} }

func splice(raw []byte, start, end int, text string) []byte {
	return slices.Concat(raw[:start], []byte(text), raw[end:])
}

// insertLine inserts a line after the one that has the position after, or before all for 0.
func insertLine(raw []byte, after int, line string) []byte {
	if after > 0 {
		if i := bytes.IndexByte(raw[after:], '\n'); i >= 0 {
			after += i + 1
		} else if after = len(raw); !bytes.HasSuffix(raw, []byte("\n")) {
			line = "\n" + line
		}
	}
	return splice(raw, after, after, line)
}

// quote writes a string as TOML. Names of datasets and files need no escapes.
func quote(value string) (string, error) {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r == 0x7f }) {
		return "", fault.New(fault.Invalid, "%q cannot be written into the file: it has control characters, quotes or backslashes", value)
	}
	return `"` + value + `"`, nil
}

// requireChange fails unless the edited content has the change, and nothing else is changed.
func requireChange(raw, edited []byte, change func(content map[string]any) error) error {
	var want, got map[string]any
	if err := toml.Unmarshal(raw, &want); err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	if want == nil {
		want = map[string]any{}
	}
	if err := change(want); err != nil {
		return err
	}
	if err := toml.Unmarshal(edited, &got); err != nil || !reflect.DeepEqual(want, got) {
		return fault.New(fault.Unsupported, "the file has a form that cannot be edited automatically: edit it by hand")
	}
	return nil
}
