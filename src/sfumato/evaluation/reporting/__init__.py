"""Numbers → pages: plots as SVG text, reports as Markdown, JSON and one HTML file."""
