package dockerconf

import (
	"bytes"
	"encoding/json"
)

// DiffKeys are the changes that give keys of the content now what they had in the
// content before, to the letter.
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

// parseMembers are the keys of a daemon.json, with their values as they are written.
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
