// Package walkthrough reads the steps of a Markdown document: the commands in its fenced
// blocks, the files that it has its reader write, and the output that it shows. It compares
// them with a test's list, and follows them: the caller says how a step is taken.
package walkthrough
