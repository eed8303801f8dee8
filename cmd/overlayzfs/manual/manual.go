package manual

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Write writes the pages of root and of all commands below it into dir. Their date
// is SOURCE_DATE_EPOCH's where that is set.
func Write(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root.InitDefaultCompletionCmd() // which Execute adds otherwise
	header := &doc.GenManHeader{Section: "8", Source: "overlayzfs", Manual: "Container layers on ZFS"}
	return doc.GenManTree(root, header, dir)
}
