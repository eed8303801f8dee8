package dockerconf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tailscale/hujson"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Change sets a key of daemon.json, or removes it when the value is nil. The path of a
// key in a nested object has several parts.
type Change struct {
	Path  []string
	Value any
}

// String shows the change as the file would have it.
func (c Change) String() string {
	key := strings.Join(c.Path, ".")
	if c.Value == nil {
		return fmt.Sprintf("without %q", key)
	}
	value, err := formatValue(c.Value)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%q: %s", key, value)
}

// Edit applies changes to the content of a daemon.json. Everything else stays: unknown
// keys, their order and the layout. Without changes it returns the content itself. It
// refuses content that dockerd could not read, with line and column.
func Edit(raw []byte, changes []Change) ([]byte, error) {
	if _, err := Decode(raw); err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		return raw, nil
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = []byte("{}\n")
	}
	file, err := hujson.Parse(raw)
	if err != nil {
		return nil, err
	}
	top, ok := file.Value.(*hujson.Object)
	if !ok {
		return nil, fault.New(fault.Invalid, "the content is not a JSON object")
	}
	for _, c := range changes {
		if err := setKey(top, c.Path, c.Value, "\n  "); err != nil {
			return nil, err
		}
	}
	edited := file.Pack()
	_, err = Decode(edited)
	return edited, err
}

// setKey changes one key. A new key is laid out like the existing ones, or with indent.
func setKey(object *hujson.Object, path []string, value any, indent string) error {
	i := findMember(object, path[0])
	if value == nil && i < 0 {
		return nil
	}
	if len(path) == 1 && value == nil {
		for ; i >= 0; i = findMember(object, path[0]) {
			removeMember(object, i)
		}
		return nil
	}
	if i < 0 {
		i = addMember(object, path[0], indent)
	}
	member := &object.Members[i].Value
	if len(path) == 1 {
		return setValue(member, value)
	}
	if kind := member.Value.Kind(); kind == 'n' { // null
		member.Value = &hujson.Object{}
	}
	below, ok := member.Value.(*hujson.Object)
	if !ok {
		return fault.New(fault.Invalid, "%q is not a JSON object", path[0])
	}
	return setKey(below, path[1:], value, indent+"  ")
}

// findMember returns the index of the last member with a name, which takes effect, or -1.
func findMember(object *hujson.Object, name string) int {
	for i := len(object.Members) - 1; i >= 0; i-- {
		if object.Members[i].Name.Value.(hujson.Literal).String() == name {
			return i
		}
	}
	return -1
}

// removeMember removes a member. The next member inherits the layout of a removed first
// one.
func removeMember(object *hujson.Object, i int) {
	if i == 0 && len(object.Members) > 1 {
		object.Members[1].Name.BeforeExtra = object.Members[0].Name.BeforeExtra
	}
	object.Members = slices.Delete(object.Members, i, i+1)
}

// addMember appends a member with an empty object and returns its index.
func addMember(object *hujson.Object, name, indent string) int {
	member := hujson.ObjectMember{
		Name:  hujson.Value{BeforeExtra: hujson.Extra(indent), Value: hujson.String(name)},
		Value: hujson.Value{BeforeExtra: hujson.Extra(" "), Value: &hujson.Object{}},
	}
	if n := len(object.Members); n > 0 {
		last := object.Members[n-1]
		member.Name.BeforeExtra, member.Value.BeforeExtra = last.Name.BeforeExtra, last.Value.BeforeExtra
		if n == 1 && len(member.Name.BeforeExtra) == 0 { // {"a": 1}
			member.Name.BeforeExtra = hujson.Extra(" ")
		}
	} else {
		object.AfterExtra = hujson.Extra(strings.TrimSuffix(indent, "  "))
	}
	object.Members = append(object.Members, member)
	return len(object.Members) - 1
}

// setValue replaces a value and keeps the space around it.
func setValue(member *hujson.Value, value any) error {
	text, err := formatValue(value)
	if err != nil {
		return err
	}
	parsed, err := hujson.Parse(text)
	if err != nil {
		return err
	}
	member.Value = parsed.Value
	return nil
}

// formatValue encodes a value with a space after each comma. A json.RawMessage stays as
// it is.
func formatValue(value any) ([]byte, error) {
	if written, ok := value.(json.RawMessage); ok {
		return written, nil
	}
	items, ok := value.([]string)
	if !ok {
		return json.Marshal(value)
	}
	texts := make([]string, len(items))
	for i, item := range items {
		raw, err := json.Marshal(item)
		if err != nil {
			return nil, err
		}
		texts[i] = string(raw)
	}
	return []byte("[" + strings.Join(texts, ", ") + "]"), nil
}

// DiffKeys returns the changes that give keys of the content now their values in the
// content before, byte by byte.
func DiffKeys(now, before []byte, keys ...string) (changes []Change, err error) {
	has, err := parseMembers(now)
	if err != nil {
		return nil, err
	}
	had, err := parseMembers(before)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		value, ok := had[key]
		switch {
		case bytes.Equal(value, has[key]): // neither has it, too
		case ok:
			changes = append(changes, Change{[]string{key}, value})
		default:
			changes = append(changes, Change{Path: []string{key}})
		}
	}
	return changes, nil
}

// parseMembers returns the keys of a daemon.json with their values as written.
func parseMembers(raw []byte) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	if len(bytes.TrimSpace(raw)) == 0 {
		return all, nil
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, addLocation(raw, err)
	}
	return all, nil
}
