package judge

import "strings"

// reasons say why targets are missed and what would be needed, by the beginning of the
// identifier of the row of ours. The longest beginning counts.
var reasons = map[string]string{}

// findReason returns the reason of a target.
func findReason(t Target) string {
	longest := ""
	for begin := range reasons {
		if strings.HasPrefix(t.Ours.Row, begin) && len(begin) > len(longest) {
			longest = begin
		}
	}
	return reasons[longest]
}
