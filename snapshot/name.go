package snapshot

import (
	"fmt"
	"strings"
	"time"
)

// prefix begins the name of every snapshot of ours.
const prefix = "overlayzfs-"

// timeLayout is ISO 8601's basic format, which has no character that ZFS
// does not allow.
const timeLayout = "20060102T150405Z"

// nameOf is the n-th name for a snapshot taken at that time. The time is for
// people: nothing is read out of a name again.
func nameOf(e Event, at time.Time, n int) string {
	return fmt.Sprintf("%s%s-%s-%d", prefix, e, at.UTC().Format(timeLayout), n)
}

// full is a snapshot's name on one dataset.
func full(dataset, name string) string { return dataset + "@" + name }

// datasetOf is what stands before the @.
func datasetOf(snapshot string) string {
	dataset, _, _ := strings.Cut(snapshot, "@")
	return dataset
}

// bare is what stands after the @.
func bare(snapshot string) string {
	_, name, _ := strings.Cut(snapshot, "@")
	return name
}

// onEach is a snapshot's name on several datasets.
func onEach(datasets []string, name string) []string {
	all := make([]string, len(datasets))
	for i, dataset := range datasets {
		all[i] = full(dataset, name)
	}
	return all
}
