// Package walkthrough reads the steps of a Markdown document: the commands in its fenced
// blocks, the files that it has its reader write, and the output that it shows. The caller
// follows the steps.
package walkthrough
