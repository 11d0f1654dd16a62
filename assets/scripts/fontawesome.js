// In place of the theme's script of the same name, 1.5 MB with all icons there are: the
// icons of these pages come from the font that the theme's style sheet names.
