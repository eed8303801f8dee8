package dockerconf

import (
	"bytes"
	"encoding/json"
)

// Back are the changes that give keys of the content now what they had in the
// content before, to the letter.
func Back(now, before []byte, keys ...string) (changes []Change, err error) {
	has, err := members(now)
	if err != nil {
		return nil, err
	}
	had, err := members(before)
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

// members are the keys of a daemon.json, with their values as they are written.
func members(raw []byte) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	if len(bytes.TrimSpace(raw)) == 0 {
		return all, nil
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, located(raw, err)
	}
	return all, nil
}
