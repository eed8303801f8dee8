package zfs

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// Value is a property's value: a number or a string, as the kernel stores it. Sizes, limits
// and words like "on" are numbers; mountpoint and user properties are strings.
type Value struct {
	text   string
	number uint64
	isText bool
}

// Uint returns a numeric value, such as a quota in bytes.
func Uint(n uint64) Value { return Value{number: n} }

// String returns a value that is a string. For a property with words (HasWords) it is one of
// the words of zfs(8), which becomes its number.
func String(s string) Value { return Value{text: s, isText: true} }

// Uint returns the number, or 0 of a string.
func (v Value) Uint() uint64 { return v.number }

// IsString reports whether the value is a string.
func (v Value) IsString() bool { return v.isText }

// String returns the string, or a number's decimal digits.
func (v Value) String() string {
	if v.isText {
		return v.text
	}
	return strconv.FormatUint(v.number, 10)
}

// Properties are properties to set, by name.
type Properties map[string]Value

// Property is a property as the kernel knows it.
type Property struct {
	Value
	// Source is the name of the dataset that the value was set on: the
	// dataset's own name if it is local, an ancestor's if it is inherited;
	// "$recvd" if it was received; empty if it is a default, or a
	// statistic that nobody sets.
	Source string
}

// isUserProperty reports whether the name is a user property's: it has a colon.
func isUserProperty(name string) bool { return strings.Contains(name, ":") }

// encode returns the value as the kernel takes it for that property.
func (v Value) encode(property string) (any, bool) {
	if !v.isText {
		return v.number, !isUserProperty(property)
	}
	if !HasWords(property) {
		return v.text, true
	}
	return ParseWord(property, v.text)
}

// pack checks properties and returns them as the kernel's list, by name.
func (p Properties) pack(op, dataset string) (nvlist.List, error) {
	list := make(nvlist.List, 0, len(p))
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if err := checkProperty(op, dataset, name, p[name]); err != nil {
			return nil, err
		}
		value, ok := p[name].encode(name)
		if !ok {
			return nil, invalid(op, dataset, "property %s cannot have the value %q", name, p[name].String())
		}
		list = append(list, nvlist.Pair{Name: name, Value: value})
	}
	return list, nil
}

// unpackProperties reads the lists {value, source} of a dataset's or pool's properties. It
// skips a value that is neither a number nor a string.
func unpackProperties(list nvlist.List) map[string]Property {
	properties := make(map[string]Property, len(list))
	for _, pair := range list {
		inner, ok := pair.Value.(nvlist.List)
		if !ok {
			continue
		}
		var p Property
		p.Source, _ = inner.String("source")
		if n, ok := inner.Uint64("value"); ok {
			p.Value = Uint(n)
		} else if s, ok := inner.String("value"); ok {
			p.Value = String(s)
		} else {
			continue
		}
		properties[pair.Name] = p
	}
	return properties
}
