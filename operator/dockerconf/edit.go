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

// Change gives a key of daemon.json a value, or takes the key away where the
// value is nil. The path of a key in an object below has several parts.
type Change struct {
	Path  []string
	Value any
}

// String is the change as it would stand in the file.
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

// Edit applies changes to the content of a daemon.json. All else stays as it is:
// keys that are not known here, their order, and how it is laid out; without a
// change the content itself. What dockerd would not read is refused, with its
// place.
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
		return nil, fault.New(fault.Invalid, "it holds no object")
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

// setKey changes one key; what is new is laid out as what is there, or as indent
// says.
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
		return fault.New(fault.Invalid, "%q is no object", path[0])
	}
	return setKey(below, path[1:], value, indent+"  ")
}

// findMember is the last member of a name, which is the one that counts.
func findMember(object *hujson.Object, name string) int {
	for i := len(object.Members) - 1; i >= 0; i-- {
		if object.Members[i].Name.Value.(hujson.Literal).String() == name {
			return i
		}
	}
	return -1
}

// removeMember takes a member away. The one that is the first then begins where that did.
func removeMember(object *hujson.Object, i int) {
	if i == 0 && len(object.Members) > 1 {
		object.Members[1].Name.BeforeExtra = object.Members[0].Name.BeforeExtra
	}
	object.Members = slices.Delete(object.Members, i, i+1)
}

// addMember appends a member, an empty object, and returns where it is.
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

// setValue keeps the space around a value.
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

// formatValue is a value as people write it: with a space after a comma. What is
// written already stays as it is.
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
